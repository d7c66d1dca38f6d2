"""Bodies that take long to read: they are cut, and others run in between."""

import asyncio
import time
from typing import TYPE_CHECKING

from batchseal.document import ReceivedDocument
from batchseal.worker.feeding import FIRST_PIECE_BYTES, MOST_PIECE_BYTES, TURN_SECONDS, Feeding, Turns

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Slow:
    """Takes so much of the processor for each byte."""

    def __init__(self, seconds_per_byte: float) -> None:
        self.seconds_per_byte = seconds_per_byte
        self.pieces: list[bytes] = []

    def feed(self, chunk: "Buffer") -> list[ReceivedDocument]:
        self.pieces.append(bytes(chunk))
        ends = time.thread_time() + len(self.pieces[-1]) * self.seconds_per_byte
        while time.thread_time() < ends:
            pass
        return []


# A first piece of such a body takes so many turns.
SLOW = 8 * TURN_SECONDS / FIRST_PIECE_BYTES


async def fed(feeding: Feeding, chunks: list[bytes]) -> None:
    for chunk in chunks:
        for piece in feeding.pieces(chunk):
            await feeding.feed(piece)


async def test_an_ordinary_body_is_soon_fed_as_it_comes() -> None:
    reader = Slow(0)
    feeding = Turns().feeding("a", reader)
    await fed(feeding, [bytes(2 * MOST_PIECE_BYTES)])
    assert len(reader.pieces[0]) == FIRST_PIECE_BYTES
    reader.pieces.clear()
    chunks = [bytes(n) for n in (1, MOST_PIECE_BYTES // 4, 3)]
    await fed(feeding, chunks)
    assert reader.pieces == chunks


async def test_a_body_that_takes_long_is_cut_and_comes_whole() -> None:
    reader = Slow(SLOW)
    chunks = [bytes([n]) * 60_000 for n in range(3)]
    await fed(Turns().feeding("a", reader), chunks)
    assert b"".join(reader.pieces) == b"".join(chunks)
    assert len(reader.pieces[0]) == FIRST_PIECE_BYTES
    assert max(map(len, reader.pieces[1:])) < FIRST_PIECE_BYTES // 2


async def test_a_body_that_becomes_ordinary_is_no_longer_cut() -> None:
    reader = Slow(SLOW)
    feeding = Turns().feeding("a", reader)
    await fed(feeding, [bytes(40_000)])
    reader.seconds_per_byte = 0
    await fed(feeding, [bytes(2 * MOST_PIECE_BYTES)] * 2)
    reader.pieces.clear()
    await fed(feeding, [bytes(MOST_PIECE_BYTES // 4)])
    assert len(reader.pieces) == 1


async def test_bodies_of_one_client_have_one_turn_together() -> None:
    """However many there are, another request waits for one piece at a time."""
    turns, reader = Turns(), Slow(SLOW)
    feedings = [turns.feeding("greedy", reader) for _ in range(10)]
    for feeding in feedings:
        await fed(feeding, [bytes(FIRST_PIECE_BYTES)])
    reader.pieces.clear()
    work = [asyncio.create_task(fed(feeding, [bytes(10_000)])) for feeding in feedings]
    seen, last = list[int](), 0
    while not all(task.done() for task in work):
        await asyncio.sleep(0)
        seen.append(len(reader.pieces) - last)
        last = len(reader.pieces)
    assert len(reader.pieces) > 20
    assert max(seen) <= 2


async def test_pieces_that_are_only_together_too_long_let_others_run() -> None:
    """Each takes less than a turn, so that none is cut."""
    reader, others = Slow(TURN_SECONDS / 2 / FIRST_PIECE_BYTES), 0
    work = asyncio.create_task(fed(Turns().feeding("a", reader), [bytes(40 * FIRST_PIECE_BYTES)]))
    while not work.done():
        await asyncio.sleep(0)
        others += 1
    assert others > 10
