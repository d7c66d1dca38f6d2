"""The first process of a container: ends with what it started, passes signals on, and reaps everybody's orphans.

This file is also run by itself, without the package and what its loading takes: process 1 stays as long as the container does,
and its memory counts.
"""

import os
import signal
import sys

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def stand_in_as_init() -> None:
    """Where this process is number 1, forks: the child returns and is the service, the parent stays and never returns.

    To be called before anything is started. A service that waits for its own children only would leave zombies of processes
    whose parents died.
    """
    if os.getpid() != 1:
        return
    # Between fork and handler no signal may be lost: a blocked one waits, over exec too.
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return
    os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, str(child)])


def attend(child: int) -> None:
    """Until `child` ends; then ends as it did, in the way that a shell says so."""

    def pass_on(number: int, frame: object) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    attend(int(sys.argv[1]))
