"""Starts the processes that a run brings along, so that none outlives it."""

import ctypes
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


def start_child(
    command: Sequence[str],
    log: Path,
    *,
    ends_with: signal.Signals,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """A process in a session of its own, so that a Ctrl-C is ours, and whatever is started we end in order.

    The kernel sends it `ends_with` if this process dies. What it says is appended to `log`. `environment` is its whole
    environment (None: that of this process), `folder` its working folder.
    """
    libc = ctypes.CDLL(None)
    with log.open("ab") as said:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, ends_with),
        )
