"""Finds spill files that nobody writes any more, and removes those that nobody needs."""

import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.system.futures import in_pool

FILES_AT_ONCE = 256  # files that a sweep removes, with a descriptor open for each; others follow with the next one

log = structlog.get_logger("sweep")


def abandoned(folder: Path) -> dict[UUID, Path]:
    """Files whose writer has let go of them: registered operations, and uploads that were cut off. By payload."""
    found: dict[UUID, Path] = {}
    for path in folder.glob("*.spill"):
        if (descriptor := _lock(path)) >= 0:
            os.close(descriptor)
            with suppress(ValueError):
                found[UUID(path.stem)] = path
    return found


async def sweep(folder: Path, pool: Executor, live: Callable[[], Awaitable[set[UUID]]]) -> None:
    """Removes payloads that no row knows: uploads that a crash cut off. `live` gives those that have one. What the operating
    system refuses is left to the next sweep.
    """
    try:
        await _sweep(folder, pool, live)
    except OSError as problem:
        log.warning("orphaned payloads are looked for later", cause=problem.strerror)


async def _sweep(folder: Path, pool: Executor, live: Callable[[], Awaitable[set[UUID]]]) -> None:
    orphans = await in_pool(pool, lambda: abandoned(folder))
    # Asked after the files were seen: whoever lets go of a file has committed its row, or never will.
    unknown = list(orphans.keys() - await live())
    with _taken({payload: orphans[payload] for payload in unknown[:FILES_AT_ONCE]}) as taken:
        # And asked again while no writer has them: one that had made its file and not yet locked it looked like none.
        for payload in taken.keys() - await live() if taken else ():
            log.info("removing an orphaned payload", file=taken[payload].name)
            taken[payload].unlink(missing_ok=True)


@contextmanager
def _taken(files: Mapping[UUID, Path]) -> Iterator[dict[UUID, Path]]:
    """Those that have no writer, nor get one before the block ends."""
    locks: dict[UUID, int] = {}
    try:
        for payload, path in files.items():
            locks[payload] = _lock(path)
        yield {payload: files[payload] for payload, descriptor in locks.items() if descriptor >= 0}
    finally:
        for descriptor in locks.values():
            if descriptor >= 0:
                os.close(descriptor)


def _lock(path: Path) -> int:
    """A descriptor that holds the file's lock; -1 where the file is gone, or its writer's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor
