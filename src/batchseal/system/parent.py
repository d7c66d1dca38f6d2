"""Makes a process end together with the one that started it."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Asks the kernel to send this process the signal `number` when its parent dies (prctl(2)).

    To be precise, the kernel sends it when that thread of the parent ends which started this process. The setting survives an
    exec. A change of user clears it.
    """
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the call of prctl, so no signal will come


def take_orphans(*, takes: bool) -> None:
    """Says whether processes below this one become its children when their parent ends (prctl(2)).

    Otherwise they become children of the first process of the system or of the container.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(takes), 0, 0, 0)
