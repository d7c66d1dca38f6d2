"""What a child process does when it begins: it reads its settings, sets up its log, and says when it is ready.

This code runs inside the child. How the supervisor starts a child and watches it stands in `child.py`.
"""

import asyncio
import gc
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings, read_dumped_settings
from batchseal.system.heap import keep_what_is_used_again, share_arenas
from batchseal.system.parent import die_with_parent
from batchseal.system.telemetry import tracing
from batchseal.system.telemetry.logs import LogSettings, configure

# How often a child says that it is at work.
AT_WORK_SECONDS = 5.0


def log_settings(settings: Settings, process: str) -> LogSettings:
    """How a process of the service logs."""
    key = mask_key(settings) if settings.log_masked else b""
    return LogSettings(
        settings.log_level,
        settings.log_format,
        settings.log_to,
        settings.log_syslog_ca,
        key,
        process,
        settings.instance,
    )


def mask_key(settings: Settings) -> bytes:
    """The key of masked texts. It is the same in all processes of one start."""
    return hashlib.sha256(f"{settings.start}{settings.instance}".encode()).digest()


def begin(processes: Sequence[str]) -> tuple[str, int]:
    """Reads the command line that the supervisor gave to this child, and ties the child's life to the supervisor's.

    Returns which of `processes` this is, and the descriptor for `say_ready`.
    """
    process, descriptor = read_arguments(sys.argv[1:], processes)
    die_with_parent()
    share_arenas()
    keep_what_is_used_again()
    # Ctrl-C sends SIGINT to every process of the terminal. Only the supervisor decides when the children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return process, descriptor


def read_arguments(arguments: Sequence[str], processes: Sequence[str]) -> tuple[str, int]:
    """The process and the descriptor in `PROCESS --ready-fd=N`. Raises SystemExit for anything else.

    argparse and what it brings would stay in the memory of each process, for one line that the supervisor has written.
    """
    if len(arguments) == 2 and arguments[0] in processes:
        name, _, number = arguments[1].partition("=")
        if name == "--ready-fd" and number.isascii() and number.isdecimal():
            return arguments[0], int(number)
    raise SystemExit(f"usage: {'|'.join(processes)} --ready-fd=N; the service itself is started by `batchseal serve`")


def receive_settings(process: str) -> Settings:
    """Waits for the settings on standard input, and sets up the log of the process.

    Ends this process if the supervisor closes the pipe without sending them.
    """
    data = sys.stdin.buffer.read()
    if not data:
        raise SystemExit(1)
    gc.freeze()  # all code is loaded now: the garbage collector need not examine it in every run
    settings = read_dumped_settings(data)
    configure(log_settings(settings, f"{process}-{settings.worker}" if settings.worker else process))
    return settings


def begin_traces(settings: Settings, process: str) -> None:
    """Sends traces from now on, where a collector is named. Raises ConfigurationError if the packages for it are missing."""
    try:
        tracing.begin(settings.otlp_endpoint, settings.trace_percent, process, settings.instance)
    except ImportError as problem:
        raise ConfigurationError(
            f"--otlp-endpoint needs the packages of the extra otel ({problem.name} is missing): pip install 'batchseal[otel]'"
        ) from None


@asynccontextmanager
async def at_work(descriptor: int) -> AsyncIterator[None]:
    """Tells the supervisor during the block that this child does not hang, however long the block takes."""

    async def tell() -> None:
        while True:
            os.write(descriptor, b"\n")
            await asyncio.sleep(AT_WORK_SECONDS)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()


def say_ready(descriptor: int, line: str = "ready") -> None:
    """Tells the supervisor that this child can be used. `line` is what `Child.start` returns."""
    os.write(descriptor, line.encode() + b"\n")
    os.close(descriptor)
