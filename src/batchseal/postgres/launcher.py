"""Becomes the account that PostgreSQL runs as, then executes one of its programs in place of itself.

This file is run by itself, as `python -I -S launcher.py`, without the package and what its loading takes. Python's `preexec_fn`
would run the same steps between fork and exec, where a lock that another thread of the service holds at that moment is never
released: the child would wait for it for ever. A program of its own has only one thread and no such lock.

    launcher.py REPORT_DESCRIPTOR PARENT_PID IDENTITY FOLDERS PROGRAM ARGUMENT...

IDENTITY is `uid:gid:group,group` or `same`; FOLDERS is `pass-folders` where the program needs CAP_DAC_READ_SEARCH, else `-`.
What goes wrong is written to REPORT_DESCRIPTOR, which the execution of the program closes.
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
    report, parent_pid, identity, folders, program, *rest = arguments
    os.set_inheritable(int(report), False)
    try:
        become(identity, folders == "pass-folders")
        if os.getppid() != int(parent_pid):
            os._exit(FAILED)  # the service ended before the kernel was asked to end this process with it
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, and what is ignored stays so over exec
            signal.signal(number, signal.SIG_DFL)
        os.execv(program, [program, *rest])
    except OSError as problem:
        os.write(int(report), str(problem).encode())
    os._exit(FAILED)


def become(identity: str, pass_folders: bool) -> None:
    """Takes the account's identity, and asks the kernel for SIGINT (a fast shutdown) when the thread that started this ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    if identity != "same":
        if pass_folders:
            # Else a new identity drops all capabilities, and access(2), which PostgreSQL asks, ignores them.
            check("prctl", libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
        uid, gid, groups = identity.split(":")
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
        if pass_folders:
            keep_only_read_search(libc)
    os.umask(0o077)
    # After the identity, whose change clears it.
    check("prctl", libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0))


def keep_only_read_search(libc: ctypes.CDLL) -> None:
    """Drops every capability but one, and makes that one outlive exec. capset(2): two 32-bit words of each set."""
    bit = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    check("capset", libc.capset(header, (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)))
    check("prctl", libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0))


def check(function: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
