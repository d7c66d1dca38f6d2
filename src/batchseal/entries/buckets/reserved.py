"""Names that batches of one hot folder are about to use: they run at the same time, and none is to get the name of another."""

import threading
from collections.abc import Iterable

# "output" or "backup", and the path there.
Name = tuple[str, str]


class Reserved:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names = set[Name]()

    def reserve(self, name: Name) -> bool:
        """False if another one has it."""
        with self._lock:
            if name in self._names:
                return False
            self._names.add(name)
            return True

    def release(self, names: Iterable[Name]) -> None:
        with self._lock:
            self._names.difference_update(names)
