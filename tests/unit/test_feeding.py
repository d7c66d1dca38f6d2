"""Bodies that take long to read: they are cut, and others run in between."""

import asyncio
import time

from batchseal.document import ReceivedDocument
from batchseal.worker.feeding import LONG_SECONDS, MOST_PIECE_BYTES, Feeding, Turns


class Slow:
    """Takes so much of the processor for each byte."""

    def __init__(self, seconds_per_byte: float) -> None:
        self.seconds_per_byte = seconds_per_byte
        self.pieces: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ReceivedDocument]:
        ends = time.thread_time() + len(chunk) * self.seconds_per_byte
        while time.thread_time() < ends:
            pass
        self.pieces.append(chunk)
        return []


async def fed(feeding: Feeding, chunks: list[bytes]) -> None:
    for chunk in chunks:
        for piece in feeding.pieces(chunk):
            await feeding.feed(piece)


async def test_an_ordinary_body_is_fed_as_it_comes() -> None:
    reader = Slow(0)
    chunks = [bytes(n) for n in (1, 100_000, 3)]
    await fed(Turns().feeding("a", reader), chunks)
    assert reader.pieces == chunks


async def test_a_body_that_takes_long_is_cut_and_comes_whole() -> None:
    reader = Slow(LONG_SECONDS / 10_000)
    chunks = [bytes([n]) * 40_000 for n in range(3)]
    await fed(Turns().feeding("a", reader), chunks)
    assert b"".join(reader.pieces) == b"".join(chunks)
    assert len(reader.pieces[0]) == 40_000
    assert max(map(len, reader.pieces[1:])) < 10_000


async def test_a_body_that_becomes_ordinary_is_no_longer_cut() -> None:
    reader = Slow(LONG_SECONDS / 10_000)
    feeding = Turns().feeding("a", reader)
    await fed(feeding, [bytes(40_000)])
    reader.seconds_per_byte = 0
    await fed(feeding, [bytes(2 * MOST_PIECE_BYTES)] * 2)
    reader.pieces.clear()
    await fed(feeding, [bytes(MOST_PIECE_BYTES)])
    assert len(reader.pieces) == 1


async def test_bodies_of_one_client_have_one_turn_together() -> None:
    """However many there are, another request waits for one piece at a time."""
    turns, reader = Turns(), Slow(LONG_SECONDS / 10_000)
    feedings = [turns.feeding("greedy", reader) for _ in range(10)]
    for feeding in feedings:
        await fed(feeding, [bytes(40_000)])
    reader.pieces.clear()
    work = [asyncio.create_task(fed(feeding, [bytes(40_000)])) for feeding in feedings]
    seen, last = list[int](), 0
    while not all(task.done() for task in work):
        await asyncio.sleep(0)
        seen.append(len(reader.pieces) - last)
        last = len(reader.pieces)
    assert len(reader.pieces) > 20
    assert max(seen) <= 2
