"""Named places in the code where a crash matters. Tests kill the process exactly there. In service a place costs one comparison.

payload-created             the payload has a place, but is empty
payload-appended            documents are written, but not fsynced
payload-committed           the payload is durable if it must be, but no row names it
registered                  the operation is committed, but the signer was not woken and the caller got no reply
claimed                     the signer has taken the lease
further-payload-committed   the signer has prepared documents, but no row names their payload
further-payload-named       the row names that payload, but nothing in it is signed
signatures-unrecorded       signatures have come, but are stored nowhere
outcomes-recorded           signatures are durable and documents are SIGNED, but the operation has no final status yet
finish-uncommitted          the final status is about to be committed
finished                    the final status is committed
record-digested             the digests for an evidence record are kept, but no time stamp was asked for
record-stamped              the time stamp for an evidence record has come, but is stored nowhere
record-ended                the evidence record is made, and its commit has reached the disk
webhook-unsent              an event is claimed, but was not sent
webhook-sent                the receiver has answered, but nothing says so
webhooks-noted              the answers of receivers are noted
purge-marked                the row says that the payload was purged, but it is still there
purge-removed               the payload was deleted
files-claimed               files of a hot folder were moved into the folder of a batch, but the batch has no list
files-listed                the list is durable, but no operation has the files
files-drafted               signed files are written aside, but no note names them
files-noted                 the note is durable, but they do not have their names
files-named                 they have their names, but the originals are not in the backup folder
files-kept                  the originals are there, but the folder of the batch was not removed
month-exported              the audit entries of a month are in their file, but still in the database too
"""

import os
import re
import signal

SITES = tuple(re.findall(r"^\s*([a-z]+(?:-[a-z]+)*)  ", __doc__ or "", re.MULTILINE))

_armed = ""
_passes_left = 0


def arm(site: str) -> None:
    """Chooses where this process is to crash: `site`, or `site:3` for the third time that it gets there.

    With `!` in front, the whole service is killed, as in a power cut.
    """
    global _armed, _passes_left
    _armed, _, passes = site.partition(":")
    _passes_left = int(passes or 1)


def crash_site(name: str) -> None:
    """Kills this process if this is the place that was chosen."""
    if _armed and _armed.lstrip("!") == name:
        _crash()


def _crash() -> None:
    global _passes_left
    _passes_left -= 1
    if _passes_left > 0:
        return
    if _armed.startswith("!"):
        # The supervisor is killed first. The kernel then kills its children, the database among them.
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
