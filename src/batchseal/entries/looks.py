"""Which files of a folder are ready: `Looks` remembers what the look before has seen.

A network mount gives no notice of changes, so the folder is looked at again and again. A file is ready when its size and all of
its times are the same in two looks, and its end is there, or as the setting `--hot-folder-ready` says instead. The time of the
last change of any kind counts too: a program that sets a file's times back to those of its source changes that one.

With `done`, a file NAME.done says that NAME is complete. One that is older than NAME may have been left by the file of this name
before, so it counts only once NAME has not changed for as long as a file without its end is waited for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from batchseal.entries.content import Content
from batchseal.entries.files import Seen
from batchseal.operation import ContentType

DONE = ".done"
# A file without its end that has not changed is judged again so often: whether somebody has it open may change alone.
JUDGED_AGAIN_SECONDS = 5.0
ReadyBy = Literal["still", "done", "rename"]
# Gives the content of a file, or None if it cannot be opened now.
Judge = Callable[[Seen], Content | None]


@dataclass(frozen=True, slots=True)
class Ready:
    """A file that can be claimed. `came_at` is when it was seen first (monotonic)."""

    file: Seen
    type: ContentType
    came_at: float
    announcement: Seen | None = None  # the file with .done behind its name, which goes with it


@dataclass(slots=True)
class Known:
    file: Seen
    came_at: float
    still_since: float
    content: Content | None = None
    judged_at: float = 0.0


class Looks:
    """Of one folder. `now` is monotonic, in seconds. `unfinished_seconds` is how long a file without its end is waited for."""

    def __init__(self, ready_by: ReadyBy, ignored: Iterable[str], unfinished_seconds: float) -> None:
        self._ready_by = ready_by
        self._ignored = tuple(pattern.lower() for pattern in ignored)
        self._unfinished_seconds = unfinished_seconds
        self._known: dict[str, Known] = {}
        self.unreadable: set[str] = set()  # files that this account may not open
        self.oldest_came_at: float | None = None  # of those that wait, ready or not

    @property
    def needs_announcements(self) -> bool:
        """Whether a file is ready only with another one that says so."""
        return self._ready_by == "done"

    def is_ignored(self, name: str) -> bool:
        """Whether files and folders of this name are left alone."""
        lower = name.lower()
        return any(fnmatchcase(lower, pattern) for pattern in self._ignored)

    def look(
        self,
        files: Iterable[Seen],
        now: float,
        judge: Judge,
        ahead: Callable[[list[Seen]], None] = lambda files: None,
    ) -> list[Ready]:
        """The files that are ready now, the one that came first is first. Blocking, since `judge` reads files.

        `ahead` is told all files that are about to be judged.
        """
        before, self._known, self.unreadable = self._known, {}, set()
        found = {file.path: file for file in files}
        maybe = list[Known]()
        for path, file in found.items():
            if self.needs_announcements and path.endswith(DONE):
                continue
            known = before.get(path)
            if known is None:
                known = Known(file, now, now)
            elif not file.is_same(known.file):
                known = Known(file, known.came_at, now)
            self._known[path] = known
            if file.size and self._may_be_ready(path, known, now, found):
                maybe.append(known)
        ahead([known.file for known in maybe if self._is_to_be_judged(known, now)])
        ready = []
        for known in maybe:
            if self._judged(known, now, judge):
                assert known.content is not None
                announcement = found[known.file.path + DONE] if self.needs_announcements else None
                ready.append(Ready(known.file, known.content.type, known.came_at, announcement))
        waiting = [known.came_at for known in self._known.values() if known.file.size]
        self.oldest_came_at = min(waiting, default=None)
        return sorted(ready, key=lambda one: one.came_at)

    def forget(self, paths: Iterable[str]) -> None:
        """These files were claimed. One that comes under the same name is a new one."""
        for path in paths:
            self._known.pop(path, None)

    def _may_be_ready(self, path: str, known: Known, now: float, found: dict[str, Seen]) -> bool:
        if self.needs_announcements:
            return self._is_announced(known, now, found.get(path + DONE))
        return self._ready_by == "rename" or known.still_since < now

    def _is_announced(self, known: Known, now: float, announcement: Seen | None) -> bool:
        if announcement is None:
            return False
        is_for_this_file = announcement.change_ns >= known.file.change_ns
        return is_for_this_file or now - known.still_since >= self._unfinished_seconds

    def _waits(self, known: Known, now: float) -> bool:
        """Whether a file without its end is still waited for."""
        return self._ready_by == "still" and now - known.still_since < self._unfinished_seconds

    def _is_to_be_judged(self, known: Known, now: float) -> bool:
        again = now - known.judged_at >= JUDGED_AGAIN_SECONDS
        return known.content is None or bool(known.content.unfinished and self._waits(known, now) and again)

    def _judged(self, known: Known, now: float, judge: Judge) -> bool:
        if self._is_to_be_judged(known, now):
            known.content, known.judged_at = judge(known.file), now
        if known.content is None:
            self.unreadable.add(known.file.path)
            return False
        return not (known.content.unfinished and self._waits(known, now))
