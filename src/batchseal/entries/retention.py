"""Removes files from output and backup folders that have had their time. Blocking."""

import os
import time
from contextlib import suppress

from batchseal.entries import files
from batchseal.entries.files import opened_below, split
from batchseal.entries.publishing import Folder

DAY_SECONDS = 86_400


def prune(folder: Folder, days: int, now: float | None = None) -> int:
    """Removes the files that came into the folder more than `days` ago, and returns how many.

    Hidden ones stay, and so do folders. The time of the last change of any kind counts: an original keeps its own time.
    """
    before = (time.time() if now is None else now) - days * DAY_SECONDS
    removed = 0
    with folder.open() as root:
        old = [one for one in files.walk(root, lambda name: name.startswith(".")) if one.change_ns < before * 1e9]
        for one in old:
            place, name = split(one.path)
            with suppress(FileNotFoundError, NotADirectoryError), opened_below(root, place) as descriptor:
                # The walk may have taken minutes, and another file may have the name by now.
                if one.is_same(files.look_at(root, one.path)):
                    os.unlink(name, dir_fd=descriptor)
                    removed += 1
    return removed
