"""A large request: one batch is prepared while the batch before it is stored, and the order stays."""

import asyncio
import threading
from collections.abc import Iterable
from typing import cast

import pytest
from tests.support.memory_payloads import MemoryPayloads

from batchseal.document import Description, ReceivedDocument, Refusal, RequestFacts
from batchseal.errors import NoSpace
from batchseal.formats.registry import Formats
from batchseal.operation import ContentType
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import GivenFrame
from batchseal.pipeline.reception import BATCHES_HELD, WINDOWS_HELD, Reception
from batchseal.system.shared_pool import SharedPool

BATCH_BYTES = 1000
WINDOW_BYTES = BATCH_BYTES * BATCHES_HELD // WINDOWS_HELD
PATIENCE_SECONDS = 30


def document(ordinal: int) -> ReceivedDocument:
    """It is as large as a batch."""
    what = Description(f"d{ordinal}", f"{ordinal}.pdf", ContentType.PDF, None, None)
    return ReceivedDocument(ordinal, bytes([ordinal]) * BATCH_BYTES, BATCH_BYTES, what)


class Looks:
    """In the place of the formats. It is asked in the thread that prepares, notes the document, and may fail for one."""

    def __init__(self, fails_for: str = "") -> None:
        self.seen: dict[str, threading.Event] = {f"d{n}": threading.Event() for n in range(8)}
        self._fails_for = fails_for

    def refusal(self, wanted: Description) -> Refusal | None:
        self.seen[wanted.external_reference].set()
        if wanted.external_reference == self._fails_for:
            raise MemoryError("a test said so")
        return None


class Store:
    """A reception whose store takes each batch only when the test lets it."""

    def __init__(self, looks: Looks) -> None:
        self.pool = SharedPool(2)
        self.payloads = MemoryPayloads()
        self.may_store, self.stores = threading.Semaphore(0), threading.Event()
        self.fails = False
        self.stored_sizes: list[int] = []
        self.reception = Reception(
            self.payloads,
            cast("Formats", looks),
            None,
            self.pool.of("a"),
            durable=False,
            window_bytes=WINDOW_BYTES,
            when_stored=self.stored_sizes.extend,
        )
        self._append = self.reception.upload.append
        self.reception.upload.append = self.append  # type: ignore[method-assign]

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        found = list(frames)
        if found and found[0][0] is FrameKind.DOCUMENT:
            self.stores.set()
            assert self.may_store.acquire(timeout=PATIENCE_SECONDS)
            if self.fails:
                raise NoSpace("a test said so", retry_after_seconds=1)
        return self._append(found)

    def ordinals(self) -> list[int]:
        frames = self.payloads.stored[self.reception.payload_id].frames
        return [frame.ordinal for frame in frames if frame.kind == FrameKind.DOCUMENT]


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_SECONDS)


async def test_a_batch_is_prepared_while_the_one_before_is_stored_and_the_third_waits() -> None:
    looks = Looks()
    store = Store(looks)
    await store.reception.take([document(0)])
    await until(store.stores)
    await store.reception.take([document(1)])
    await until(looks.seen["d1"])  # although nothing is stored yet
    assert store.ordinals() == []
    third = asyncio.ensure_future(store.reception.take([document(2)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not third.done() and not looks.seen["d2"].is_set()
    store.may_store.release()
    await third
    await until(looks.seen["d2"])
    assert store.stored_sizes == [BATCH_BYTES]
    for _ in range(2):
        store.may_store.release()
    received = await store.reception.finish(RequestFacts("r", "d", None, 3))
    assert store.ordinals() == [0, 1, 2] == [one.ordinal for one in received.documents]
    assert store.stored_sizes == 3 * [BATCH_BYTES]
    store.pool.shutdown()


async def test_a_preparation_that_fails_is_known_and_what_is_stored_meanwhile_ends_first() -> None:
    looks = Looks(fails_for="d1")
    store = Store(looks)
    await store.reception.take([document(0)])
    await until(store.stores)
    await store.reception.take([document(1)])
    with pytest.raises(MemoryError):
        await store.reception.take([document(2)])
    abandoning = asyncio.ensure_future(store.reception.abandon())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not abandoning.done()  # the first batch is still being stored
    store.may_store.release()
    await abandoning
    assert store.payloads.stored == {}
    store.pool.shutdown()


async def test_a_store_that_is_full_is_known_to_the_next_batch() -> None:
    store = Store(Looks())
    store.fails = True
    store.may_store.release()
    await store.reception.take([document(0)])
    await store.reception.take([document(1)])
    with pytest.raises(NoSpace):
        await store.reception.take([document(2)])
    await store.reception.abandon()
    assert store.payloads.stored == {}
    store.pool.shutdown()
