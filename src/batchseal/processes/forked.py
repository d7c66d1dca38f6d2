"""Forks children from a process that loads the code which all of them need, so that they share its pages, and then ends.

A child that is started with `exec` loads its code for itself, and each process has a copy of it. A forked child has the copies of
its parent until one of them writes to a page. The parent is a template (what Chromium and Android call a zygote), itself forked
from the supervisor before that does anything else. Once the template has ended, its children belong to the supervisor.

    supervisor ─── template ─┬─ signer        then        supervisor ─┬─ signer
                             └─ worker                                └─ worker

A process that is started again later is started with `exec`: by then the supervisor has threads, and forking would not be safe.
"""

import asyncio
import ctypes
import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from batchseal.system.parent import die_with_parent, take_orphans

# The fields of /proc/self/stat that say where the command line begins and ends (proc(5)), counted behind the name.
ARGUMENTS_BEGIN, ARGUMENTS_END = 45, 46
# How long the template may take to load the code. After that the children are started with `exec`.
LOADING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pipes:
    """The pipes of one child: its settings, and the line that says that it is ready."""

    settings_reading: int
    settings: int
    ready: int
    ready_writing: int

    @classmethod
    def make(cls) -> "Pipes":
        return cls(*os.pipe(), *os.pipe())

    @property
    def of_supervisor(self) -> tuple[int, int]:
        return self.settings, self.ready

    @property
    def of_child(self) -> tuple[int, int]:
        return self.settings_reading, self.ready_writing


class Template:
    """The template as the supervisor sees it: a process that forks the children, says their numbers, and ends."""

    def __init__(self, pid: int, told: int) -> None:
        self._pid = pid
        self._told = told
        self._children: asyncio.Task[list[int]] | None = None

    async def children(self) -> list[int]:
        """The numbers of the processes that it has forked: fewer than were asked for if it failed or took too long."""
        if self._children is None:
            self._children = asyncio.create_task(asyncio.to_thread(self._read))
        return await asyncio.shield(self._children)

    def _read(self) -> list[int]:
        handle = os.pidfd_open(self._pid)
        if not select.select([handle], [], [], LOADING_SECONDS)[0]:
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(handle)
        with os.fdopen(self._told) as lines:
            told = lines.read()
        take_orphans(takes=False)  # its children are ours by now, and no others are wanted
        return [int(line) for line in told.split()]


@dataclass(slots=True, eq=False)
class Forked:
    """A forked child, with those members of `asyncio.subprocess.Process` that `Child` uses.

    `settings` is the descriptor to write its settings to, `ready` the one to read from that it is ready.
    """

    template: Template
    number: int  # among the children of the template
    settings: int
    ready: int
    pid: int = 0
    returncode: int | None = None
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> bool:
        """Waits until it was forked. To be called in the event loop that is to notice its end. False if the template failed."""
        children = await self.template.children()
        if self.number >= len(children):
            os.close(self.settings)
            os.close(self.ready)
            return False
        self.pid = children[self.number]
        handle = os.pidfd_open(self.pid)  # of a process that has ended, too: nobody else waits for it
        asyncio.get_running_loop().add_reader(handle, self._reap, handle)
        return True

    def _reap(self, handle: int) -> None:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
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


def fork(commands: Sequence[Sequence[str]], load: Callable[[], object], main: Callable[[], None]) -> list[Forked]:
    """Forks a template, which calls `load` and forks a child for each command: a module and its arguments.

    The child calls `main` with them in `sys.argv`, and exits. What the children are to share must be loaded by `load` or before.
    Returns none where forking is not safe, as other threads run, or where the kernel cannot tell the end of a process (before
    Linux 5.3).
    """
    if has_threads() or not has_process_handles():
        return []
    # The garbage collector writes to each object that it examines, and so would copy its page.
    gc.freeze()
    pipes = [Pipes.make() for _ in commands]
    told, telling = os.pipe()
    take_orphans(takes=True)
    pid = os.fork()
    if not pid:
        close(told, *(descriptor for each in pipes for descriptor in each.of_supervisor))
        number = fork_children(len(commands), load, telling)  # it returns in each child
        close(*(descriptor for n, each in enumerate(pipes) if n != number for descriptor in each.of_child))
        become(commands[number], *pipes[number].of_child, main)
    close(telling, *(descriptor for each in pipes for descriptor in each.of_child))
    template = Template(pid, told)
    return [Forked(template, number, each.settings, each.ready) for number, each in enumerate(pipes)]


def fork_children(count: int, load: Callable[[], object], telling: int) -> int:
    """What the template does. Returns in each child, with its number, when the template has ended."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, as in the children
        die_with_parent()
        load()
        gc.freeze()
        handle = os.pidfd_open(os.getpid())
        for number in range(0 if has_threads() else count):
            pid = os.fork()
            if not pid:
                os.close(telling)
                # A process asks the kernel to end it with its parent. That must be the supervisor by then.
                select.select([handle], [], [])
                os.close(handle)
                return number
            os.write(telling, f"{pid}\n".encode())
    except BaseException:
        traceback.print_exc()  # the children are started with `exec`, and say what is wrong if they cannot start either
    os._exit(0)


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


def has_threads() -> bool:
    return len(os.listdir("/proc/self/task")) > 1


def has_process_handles() -> bool:
    """Whether the kernel tells the end of a process by a descriptor."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
