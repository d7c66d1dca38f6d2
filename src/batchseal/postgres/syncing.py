"""Fsyncs every file and folder below the given folders, many at the same time.

This file is a program of its own, run as `python -I -S syncing.py FOLDER...`, so that it can be killed, and so that its threads
leave no memory behind in the service. An fsync waits for everything that the disk has accepted before it, from whatever process.
Fsyncs that wait at the same time share that wait: beside a busy writer, a thousand fsyncs took 25 s one after the other, and half
a second with 64 at a time.
"""

import os
import sys
import threading
from collections.abc import Iterator, Sequence

THREADS = 64


def main(folders: Sequence[str]) -> int:
    """Returns the exit status: 1 if a file could not be fsynced."""
    waiting, problems = iter(list(everything(folders))), list[OSError]()

    def work() -> None:
        try:
            for path in waiting:  # the iterator of a list gives each path to one thread only
                sync(path)
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
    """The paths of all folders and regular files. Raises OSError if a folder cannot be read."""

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
