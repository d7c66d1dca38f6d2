"""What every child process does first: read its settings, log as JSON lines, say when it is ready."""

import argparse
import ctypes
import fcntl
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from batchseal.settings.load import Settings, read_dumped_settings
from batchseal.system.parent import die_with_parent

M_ARENA_MAX, ARENAS = -8, 2
# Connections of a worker, not requests: at the server's default 1,024 idle ones stop everything, the health addresses
# included.
MAX_CONNECTIONS = 20_000
# What a worker has open beside its connections: payloads that come in and go out, sessions of the database, libraries.
OTHER_FILES = 1_000


def spare_memory() -> None:
    """Threads share two heaps (mallopt(3)): each of more would keep what its thread once needed, for ever."""
    with suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """What is free between what is in use goes back to the system (malloc_trim(3)): 1 to 3 ms."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def raise_open_files(needed: int = MAX_CONNECTIONS + OTHER_FILES) -> int:
    """Raises the limit of open files of this process and of its future children to `needed`, or as far as the hard limit
    allows; returns the limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def connections_within(open_files: int) -> int:
    """Connections that a worker may hold open under this limit, so that descriptors are left for the payloads."""
    return min(MAX_CONNECTIONS, max(open_files - OTHER_FILES, open_files // 2))


def low_open_files(open_files: int) -> str:
    """What a limit that is too low means; empty where it is high enough."""
    if (connections := connections_within(open_files)) >= MAX_CONNECTIONS:
        return ""
    return (
        f"at most {open_files} open files are allowed: a worker takes {connections} connections, not {MAX_CONNECTIONS}; "
        f"raise the hard limit (ulimit -n) to {MAX_CONNECTIONS + OTHER_FILES}"
    )


def configure_log(level: str) -> None:
    """One JSON object a line on standard error. Documents, secrets and tokens are never passed to it."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(stream=sys.stderr, level=number, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def begin(processes: Sequence[str]) -> tuple[str, int]:
    """Which process this is, and the descriptor for the line that says it is ready."""
    parser = argparse.ArgumentParser()
    parser.add_argument("process", choices=processes)
    parser.add_argument("--ready-fd", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent()
    spare_memory()
    # Ctrl-C reaches the whole terminal group; the supervisor alone decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return arguments.process, arguments.ready_fd


def receive_settings() -> Settings:
    """Waits for the settings on standard input. Ends the process where the supervisor went away."""
    data = sys.stdin.buffer.read()
    if not data:
        raise SystemExit(1)
    gc.freeze()  # all is loaded by now: no collection has to look through it again
    settings = read_dumped_settings(data)
    configure_log(settings.log_level)
    return settings


def say_ready(descriptor: int, line: str = "ready") -> None:
    os.write(descriptor, line.encode() + b"\n")
    os.close(descriptor)


def in_use(temp_folder: Path) -> bool:
    """Whether a service holds the folder's lock."""
    try:
        lock = os.open(temp_folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
