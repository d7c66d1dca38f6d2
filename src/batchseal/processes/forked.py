"""Forks children of the supervisor before it does anything else, so that they share the pages of the code that all of them need.

A child that is started with `exec` loads its code for itself, and each process has a copy of it. A forked child has the copies of
its parent until one of them writes to a page. So the first processes of a start are forked (`fork`), and `Child` takes them over.
A process that is started again later is started with `exec`: by then the supervisor has threads, and forking would not be safe.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

# The fields of /proc/self/stat that say where the command line begins and ends (proc(5)), counted behind the name.
ARGUMENTS_BEGIN, ARGUMENTS_END = 45, 46


@dataclass(slots=True, eq=False)
class Forked:
    """A forked child, with those members of `asyncio.subprocess.Process` that `Child` uses.

    `settings` is the descriptor to write its settings to, `ready` the one to read from that it is ready.
    """

    pid: int
    settings: int
    ready: int
    handle: int  # pidfd_open(2)
    returncode: int | None = None
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """To be called in the event loop that is to notice the end."""
        asyncio.get_running_loop().add_reader(self.handle, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self.handle)
        os.close(self.handle)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()

    async def wait(self) -> int:
        """The exit code, or the signal that ended it as a negative number."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def tell(self, settings: bytes) -> None:
        """Gives it its settings. One that has ended meanwhile gets none."""

        def write() -> None:
            with suppress(BrokenPipeError), os.fdopen(self.settings, "wb") as pipe:
                pipe.write(settings)

        await asyncio.to_thread(write)

    def send_signal(self, number: int) -> None:
        # The number belongs to this child until `_reap` has waited for it.
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(commands: Sequence[Sequence[str]], main: Callable[[], None]) -> list[Forked]:
    """Forks a child for each command, a module and its arguments. The child calls `main` with them in `sys.argv`, and exits.

    What the children are to share must be loaded before. Returns none where forking is not safe, as other threads run, or where
    the kernel cannot tell their end (before Linux 5.3).
    """
    if len(os.listdir("/proc/self/task")) > 1 or not has_process_handles():
        return []
    # The garbage collector writes to each object that it examines, and so would copy its page.
    gc.freeze()
    children: list[Forked] = []
    for command in commands:
        reading, settings = os.pipe()
        ready, writing = os.pipe()
        pid = os.fork()
        if not pid:
            for other in children:
                for descriptor in (other.settings, other.ready, other.handle):
                    os.close(descriptor)
            os.close(settings)
            os.close(ready)
            become(command, reading, writing, main)
        os.close(reading)
        os.close(writing)
        children.append(Forked(pid, settings, ready, os.pidfd_open(pid)))
    return children


def become(command: Sequence[str], reading: int, writing: int, main: Callable[[], None]) -> NoReturn:
    """What a child does first: it is what a process that was started with `exec` would be."""
    os.setsid()
    os.dup2(reading, 0)
    os.close(reading)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # the supervisor may have none
    os.set_inheritable(writing, False)
    module, *arguments = command
    sys.argv = [module, *arguments, f"--ready-fd={writing}"]
    show_command([sys.executable, "-m", *command, f"--ready-fd={writing}"])
    main()
    raise SystemExit(0)


def show_command(arguments: Sequence[str]) -> None:
    """Puts this command line in place of the one that `ps` shows, as far as it fits into the length of that."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        begin, end = int(fields[ARGUMENTS_BEGIN]), int(fields[ARGUMENTS_END])
        room = end - begin
        line = b"\0".join(map(os.fsencode, arguments)) + b"\0"
        if len(line) > room:  # the path of Python matters least
            line = b"\0".join(map(os.fsencode, (Path(arguments[0]).name, *arguments[1:])))
        ctypes.memmove(begin, line[: room - 1].ljust(room, b"\0"), room)


def has_process_handles() -> bool:
    """Whether the kernel tells the end of a process by a descriptor."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
