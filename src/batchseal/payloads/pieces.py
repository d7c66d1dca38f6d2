"""The content of a frame that is too large to be held once more: its bytes are made a piece at a time, and again where needed."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Pieces:
    """Whoever stores it goes through it twice: for the checksum that stands before the content, and to write it."""

    total_bytes: int

    def __iter__(self) -> "Iterator[Buffer]":
        """The content in pieces of at most a few hundred KB. Each time the same bytes."""
        raise NotImplementedError


def in_groups(buffers: "Iterable[Buffer | Pieces]", most: int) -> "Iterator[list[Buffer]]":
    """The buffers in lists of at most `most`, for one system call each. Of pieces only one is held at a time."""
    group: list[Buffer] = []
    for one in buffers:
        if isinstance(one, Pieces):
            if group:
                yield group
                group = []
            for piece in one:
                yield [piece]
        else:
            group.append(one)
            if len(group) == most:
                yield group
                group = []
    if group:
        yield group
