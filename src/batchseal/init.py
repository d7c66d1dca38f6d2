"""The first process of a container: ends with what it started, passes signals on, and reaps everybody's orphans."""

import os
import signal
from contextlib import suppress

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def stand_in_as_init() -> None:
    """Where this process is number 1, forks: the child returns and is the service, the parent stays and never returns.

    To be called before anything is loaded, so that the parent keeps next to nothing of its own. A service that waits for its
    own children only would leave zombies of processes whose parents died.
    """
    if os.getpid() != 1:
        return
    # Between fork and handler no signal may be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return

    def pass_on(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
