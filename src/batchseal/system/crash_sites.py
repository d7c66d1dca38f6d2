"""Named places where a crash matters: tests end the process exactly there. In service it is one comparison.

spill-created         the file has a name, and nothing in it
spill-appended        documents are written, not synced
spill-synced          the file and its name are on the disk, no row knows it
registered            committed; the signer is not woken, the caller not answered
claimed               the lease is taken
prepared-appended     the signer wrote prepared digests
signatures-appended   signatures came and are written, not synced
signatures-synced     they are on the disk, no row says so
outcomes-recorded     rows say SIGNED, the operation's status not yet
finish-uncommitted    about to set the final status
finished              it is set
purge-marked          the row says purged, the file is still there
purge-removed         the file is gone
month-exported        a month's audit entries are in their file, still in the database too
"""

import os
import re
import signal

SITES = tuple(re.findall(r"^\s*([a-z]+(?:-[a-z]+)*)  ", __doc__ or "", re.MULTILINE))

_armed = ""
_passes_left = 0


def arm(site: str) -> None:
    """`site`, or `site:3` for its third pass; `!` in front ends the whole service, as a power cut would."""
    global _armed, _passes_left
    _armed, _, passes = site.partition(":")
    _passes_left = int(passes or 1)


def crash_site(name: str) -> None:
    if _armed and _armed.lstrip("!") == name:
        _crash()


def _crash() -> None:
    global _passes_left
    _passes_left -= 1
    if _passes_left > 0:
        return
    if _armed.startswith("!"):
        # The supervisor first: the kernel ends its children with it, the database too.
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
