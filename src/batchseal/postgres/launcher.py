"""Changes to the account that PostgreSQL runs as, then executes one of its programs in this process.

This file is a program of its own, run as `python -I -S launcher.py`. It does not import the package, which would take time.
Python's `preexec_fn` would do the same steps between fork and exec. There they can deadlock: a lock that another thread of the
service holds at the moment of the fork is never released in the child. A separate program has one thread only, and no such lock.

    launcher.py REPORT_DESCRIPTOR PARENT_PID IDENTITY FOLDERS PROGRAM ARGUMENT...

IDENTITY is `uid:gid:group,group`, or `same`. FOLDERS is `pass-folders` if the program needs CAP_DAC_READ_SEARCH, else `-`. An
error is written to REPORT_DESCRIPTOR, which is closed when the program is executed.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
FAILED = 126


def main(arguments: Sequence[str]) -> None:
    """Never returns: it becomes the program, or ends with the status FAILED."""
    report, parent_pid, identity, folders, program, *rest = arguments
    os.set_inheritable(int(report), False)
    try:
        become(identity, folders == "pass-folders")
        if os.getppid() != int(parent_pid):
            os._exit(FAILED)  # the service ended before this process had asked to be ended with it
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these two, and exec would keep that
            signal.signal(number, signal.SIG_DFL)
        os.execv(program, [program, *rest])
    except OSError as problem:
        os.write(int(report), str(problem).encode())
    os._exit(FAILED)


def become(identity: str, pass_folders: bool) -> None:
    """Changes to the account, and asks the kernel to send SIGINT when the thread that started this process ends.

    SIGINT makes PostgreSQL shut down fast.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    if identity != "same":
        if pass_folders:
            # Without this, a change of user drops all capabilities, and access(2), which PostgreSQL calls, ignores them.
            check("prctl", libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
        uid, gid, groups = identity.split(":")
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
        if pass_folders:
            keep_only_read_search(libc)
    os.umask(0o077)
    # This must come after the change of user, which clears it.
    check("prctl", libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0))


def keep_only_read_search(libc: ctypes.CDLL) -> None:
    """Drops every capability but one, and lets that one survive exec. capset(2) takes two 32-bit words for each set."""
    bit = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    check("capset", libc.capset(header, (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)))
    check("prctl", libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0))


def check(function: str, result: int) -> None:
    """Raises OSError if the result of a C function says that it has failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
