"""`ExpiringCache`: a cache in which each value is valid for a time of its own."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ExpiringCache(Generic[Key, Value]):
    """Keeps at most `size` values. If there is no room for a new one, the oldest one is dropped. `clock` returns seconds."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._answers: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, key: Key) -> tuple[Value] | None:
        """The value in a tuple, or None if there is none that is still valid. (The value itself may be None, hence the tuple.)"""
        kept = self._answers.get(key)
        return (kept[1],) if kept is not None and kept[0] > self._clock() else None

    def forget(self, key: Key) -> None:
        """Drops what is kept for `key`, if anything is."""
        self._answers.pop(key, None)

    def keep(self, key: Key, value: Value, seconds: float) -> None:
        """Keeps `value` for `seconds`."""
        self._answers[key] = self._clock() + seconds, value
        self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)
