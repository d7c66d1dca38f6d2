"""A process that ends with the one that started it."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """The kernel sends this process the signal `number` when its parent dies (prctl(2)): nothing of a service outlives it.

    To be precise, when the parent's thread that started it ends. An exec keeps the setting, a change of user clears it.
    """
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)  # it died in between, and no signal comes
