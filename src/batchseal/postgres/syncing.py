"""Brings every file and folder below the given ones to the disk, many at once.

This file is run by itself, as `python -I -S syncing.py FOLDER...`, so that its threads leave no memory behind in the service, and
so that it can be ended. One fsync waits for all that the disk has taken before it, whosever that is; fsyncs that wait together
share that wait. A thousand one after the other took 25 s beside a busy writer, 64 at a time half a second.
"""

import os
import sys
import threading
from collections.abc import Iterator, Sequence

THREADS = 64


def main(folders: Sequence[str]) -> int:
    waiting, problems = iter(list(everything(folders))), list[OSError]()

    def work() -> None:
        try:
            for path in waiting:  # a list's iterator gives each path to one thread only
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
    """Folders and regular files. Raises OSError where a folder cannot be read."""

    def refuse(problem: OSError) -> None:
        raise problem

    for top in folders:
        for folder, _, names in os.walk(top, onerror=refuse):
            yield folder
            paths = (os.path.join(folder, name) for name in names)
            yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def sync(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # removed meanwhile: nothing of it needs to last
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
