"""Lets all who wait for the same file share one fdatasync."""

import threading
from collections.abc import Callable
from pathlib import Path


class _Sync:
    """One fdatasync that is under way or about to begin, and who waits for it."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self.sharers = 0


class GroupSync:
    """Any thread may use it. What was written before `run` was called is covered by the sync that it waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Path, _Sync] = {}
        self._following: dict[Path, _Sync] = {}

    def run(self, path: Path, sync: Callable[[], None]) -> None:
        """Returns once a sync of the file has ended that began after this call. Raises what that one raised, in every thread.

        The system reports a failed sync once, so each of those who share it must be told.
        """
        with self._lock:
            before = self._under_way.get(path)
            if before is None:
                mine = self._under_way[path] = _Sync()
                is_leader = True
            else:
                # The one under way may have begun before our data was written. All who come now share the next one.
                mine = self._following.get(path) or _Sync()
                is_leader = path not in self._following
                self._following[path] = mine
            mine.sharers += 1
        if not is_leader:
            mine.ended.wait()
        else:
            self._lead(path, mine, before, sync)
        if mine.failure is not None:
            raise mine.failure

    def waiting(self, path: Path) -> int:
        """How many threads wait for a sync that has not begun yet."""
        with self._lock:
            following = self._following.get(path)
            return following.sharers if following is not None else 0

    def _lead(self, path: Path, mine: _Sync, before: _Sync | None, sync: Callable[[], None]) -> None:
        if before is not None:
            before.ended.wait()
            with self._lock:
                del self._following[path]
                self._under_way[path] = mine
        try:
            sync()
        except BaseException as problem:
            mine.failure = problem
        finally:
            with self._lock:
                if self._under_way.get(path) is mine:
                    del self._under_way[path]
            mine.ended.set()
