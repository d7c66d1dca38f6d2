"""Named places where a crash matters: tests end the process exactly there. In service a site is one comparison.

payload-created             the payload has a name and holds nothing
payload-appended            documents are written and not synced
payload-committed           the payload is durable where it must be, and no row knows it
registered                  the operation is committed; the signer is not woken, the caller not answered
claimed                     the lease is taken
further-payload-committed   the signer has prepared documents, and no row names their payload
further-payload-named       the row names it, and nothing in it is signed
signatures-unrecorded       signatures came, and are written nowhere
outcomes-recorded           signatures are durable, documents are SIGNED, the status of the operation is not set yet
finish-uncommitted          the final status is about to be committed
finished                    it is committed
purge-marked                the row says purged, the payload is still there
purge-removed               the payload is gone
month-exported              the audit entries of a month are in their file, and still in the database too
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
