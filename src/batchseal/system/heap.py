"""The heap of the C library: settings that keep the memory of a process small, and what is used again and again in it."""

import asyncio
import ctypes
from contextlib import suppress

# Parameters of mallopt(3), and their values here.
M_ARENA_MAX, ARENAS = -8, 2
M_TRIM_THRESHOLD, FREE_BYTES_KEPT = -1, 1 << 20
M_MMAP_THRESHOLD, MAPPED_FROM_BYTES = -3, 1 << 20


def share_arenas() -> None:
    """Makes all threads share two arenas of the C library (mallopt(3)).

    With more arenas each of them would keep the memory that its threads once needed, for as long as the process lives.
    """
    with suppress(AttributeError):  # this C library has no mallopt
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def keep_what_is_used_again() -> None:
    """Makes a heap keep up to 1 MB of free memory at its end, and take buffers of up to 1 MB from it (mallopt(3)).

    By default the C library finds both limits itself, from the largest buffer so far. Where that was one document, it returned
    the memory of each document and of its reply to the system, and the next request had 130 page faults for them.
    """
    with suppress(AttributeError):  # this C library has no mallopt
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, FREE_BYTES_KEPT)
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)


def give_back_memory() -> None:
    """Returns unused pages of the heap to the operating system (malloc_trim(3)). Takes 1 to 3 ms."""
    with suppress(AttributeError):  # this C library has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


class IdleHeap:
    """Returns memory to the operating system once a process has had nothing to do for `seconds`."""

    def __init__(self, seconds: float = 0.3) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begins(self) -> None:
        """There is work."""
        if self._timer is not None:
            self._timer.cancel()

    def ended(self) -> None:
        """There is no more work."""
        self._timer = asyncio.get_running_loop().call_later(self._seconds, give_back_memory)
