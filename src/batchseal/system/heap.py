"""The heap of the C library: two settings that keep the memory of a process small."""

import ctypes
from contextlib import suppress

# A parameter of mallopt(3), and its value here.
M_ARENA_MAX, ARENAS = -8, 2


def share_arenas() -> None:
    """Makes all threads share two arenas of the C library (mallopt(3)).

    With more arenas each of them would keep the memory that its threads once needed, for as long as the process lives.
    """
    with suppress(AttributeError):  # this C library has no mallopt
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Returns unused pages of the heap to the operating system (malloc_trim(3)). Takes 1 to 3 ms."""
    with suppress(AttributeError):  # this C library has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
