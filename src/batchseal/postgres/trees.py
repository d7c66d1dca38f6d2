"""Copies trees of files and fsyncs them, many files at the same time.

This file is a program of its own, so that it can be killed, and so that its threads leave no memory behind in the service:

    python -I -S trees.py sync FOLDER...
    python -I -S trees.py copy SOURCE TARGET

An fsync waits for everything that the disk has accepted before it, from whatever process, and a new file may wait for the
journal of the file system. Those that wait at the same time share that wait: beside a busy writer, a thousand fsyncs took 25 s
one after the other. Even the fsync of a file that did not change makes the disk empty its cache, so few rounds are quicker.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

THREADS = 256
# Caches and figures of the server that made a cluster. The next server would remove or replace them first, one by one.
NOT_COPIED = ("pg_internal.init", "pgstat.stat", "postmaster.opts")
# Files of a table that only help to find free space and unchanged pages. The next server makes them anew where they are missing.
HELPERS = ("_fsm", "_vm")


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 1 if a file could not be copied or fsynced."""
    command, *folders = arguments
    if command == "copy":
        source, target = folders
        return copy(source, target)
    return for_each(sync, everything(folders))


def copy(source: str, target: str) -> int:
    """Copies the content, modes and owners of all folders and regular files below `source`, without NOT_COPIED and HELPERS.

    The files are fsynced, the folders are not: a file waits for the disk while others are still being made.

    `target` is an empty folder. Returns the exit status.
    """

    def copied(path: str) -> None:
        place = target + path.removeprefix(source)
        shutil.copyfile(path, place)
        like(path, place)
        sync(place)

    files = []
    for path in everything([source]):
        if os.path.basename(path) in NOT_COPIED or path.endswith(HELPERS):
            continue
        if os.path.isfile(path):
            files.append(path)
        else:
            place = target + path.removeprefix(source)
            os.makedirs(place, exist_ok=True)
            like(path, place)
    return for_each(copied, files)


def like(path: str, place: str) -> None:
    """Gives `place` the owner and the mode of `path`."""
    status = os.stat(path)
    if os.geteuid() == 0:
        os.chown(place, status.st_uid, status.st_gid)
    os.chmod(place, status.st_mode & 0o7777)


def for_each(task: Callable[[str], None], paths: Iterable[str]) -> int:
    """Does the task for each path, in many threads. Each thread ends at its first error. Returns the exit status."""
    waiting, problems = iter(list(paths)), list[OSError]()

    def work() -> None:
        try:
            for path in waiting:  # the iterator of a list gives each path to one thread only
                task(path)
        except OSError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        print(problems[0], file=sys.stderr)
    return 1 if problems else 0


def everything(folders: Sequence[str]) -> Iterator[str]:
    """The paths of all folders and regular files, each folder before its content. Raises OSError if a folder cannot be read."""

    def refuse(problem: OSError) -> None:
        raise problem

    for top in folders:
        for folder, _, names in os.walk(top, onerror=refuse):
            yield folder
            paths = (os.path.join(folder, name) for name in names)
            yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def sync(path: str) -> None:
    """Fsyncs one file or folder. Raises OSError if that fails."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # it was removed meanwhile, so nothing of it has to be on the disk
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
