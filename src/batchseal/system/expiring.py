"""A cache whose answers hold for a time each: `ExpiringCache`."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ExpiringCache(Generic[Key, Value]):
    """At most `size` answers; a new one that finds no room takes the place of the oldest. `clock` gives seconds."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._answers: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, key: Key) -> tuple[Value] | None:
        """The answer in a tuple, since None may be one; None where there is none that still holds."""
        kept = self._answers.get(key)
        return (kept[1],) if kept is not None and kept[0] > self._clock() else None

    def keep(self, key: Key, value: Value, seconds: float) -> None:
        """Remembers `value` for `seconds`."""
        self._answers[key] = self._clock() + seconds, value
        self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)
