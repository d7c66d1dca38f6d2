"""Which documents the signer reads at once to prepare them, and what memory is booked for reading: few enough, and before."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import pytest
from tests.support.memory_payloads import MemoryPayloads, MemoryReader

from batchseal.errors import NoRoom, PayloadUnavailable
from batchseal.operation import Caller, ContentType, DocumentStatus, Mode
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.object_reader import READER_BYTES
from batchseal.payloads.operation import OperationReader, record_bytes, records_of
from batchseal.signer.preparation import BATCH_BYTES, COPIES, batches, memory_bytes
from batchseal.signer.work import Work
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationRow, PayloadColumns


def rows(*sizes: int) -> list[DocumentRow]:
    return [
        DocumentRow(n, str(n), "n.pdf", ContentType.PDF, DocumentStatus.RECEIVED, None, None, size, 0)
        for n, size in enumerate(sizes)
    ]


def test_documents_are_read_as_many_as_a_format_takes_and_never_more_than_memory_holds() -> None:
    half = BATCH_BYTES // 2
    for sizes, expected in (
        ([10] * 70, [32, 32, 6]),
        ([half, half, 1], [2, 1]),
        ([50 * BATCH_BYTES] * 3, [1, 1, 1]),
        ([1, 50 * BATCH_BYTES, 1, 1], [1, 1, 2]),
        ([], []),
    ):
        found = list(batches(rows(*sizes)))
        assert [len(batch) for batch in found] == expected
        assert [row.ordinal for batch in found for row in batch] == list(range(len(sizes)))


class Booked:
    """Counts what is booked at the moment, and refuses more than `most_bytes`."""

    def __init__(self, most_bytes: int = 1 << 40) -> None:
        self.now, self.most, self.largest = 0, most_bytes, 0

    @asynccontextmanager
    async def reserve(self, client: str, wanted_bytes: int) -> AsyncIterator[None]:
        if self.now + wanted_bytes > self.most:
            raise NoRoom("the memory for uploads is in use")
        with self.memory(wanted_bytes):
            yield

    @contextmanager
    def memory(self, wanted_bytes: int) -> Iterator[int]:
        self.now += wanted_bytes
        self.largest = max(self.largest, self.now)
        yield wanted_bytes
        self.now -= wanted_bytes


class Windows(MemoryPayloads):
    """A store whose readers hold a window each while they are open, as those of an object store do."""

    def __init__(self) -> None:
        super().__init__()
        self.open_readers = 0

    def reader_bytes(self, record: PayloadRecord) -> int:
        return READER_BYTES

    def open(self, record: PayloadRecord) -> MemoryReader:
        store, reader = self, super().open(record)
        self.open_readers += 1

        class Reader(MemoryReader):
            def close(self) -> None:
                store.open_readers -= 1

        reader.__class__ = Reader
        return reader


@pytest.fixture
def stored() -> tuple[Windows, OperationRow]:
    payloads = Windows()
    upload = payloads.create(uuid4())
    upload.begin()
    upload.append([(FrameKind.DOCUMENT, 0, b"content")])
    record = upload.commit(durable=True)
    upload.release()
    columns = PayloadColumns(record.id, record_bytes(record), ())
    return payloads, cast(OperationRow, SimpleNamespace(payloads=columns, client_service="A", id=1, mode=Mode.ASYNC))


def worked_on(stored: tuple[Windows, OperationRow], booked: Booked) -> Work:
    payloads, row = stored
    caller = cast(Caller, None)
    return Work(ClaimedOperation(row, 1, 0), caller, payloads, ThreadPoolExecutor(1), 1, booked.reserve)


async def test_what_a_reader_holds_is_booked_while_it_reads_and_no_longer(
    stored: tuple[Windows, OperationRow],
) -> None:
    payloads, booked = stored[0], Booked()
    work = worked_on(stored, booked)
    seen = await work.read(lambda reader: (reader.read(FrameKind.DOCUMENT, 0), booked.now, payloads.open_readers))
    assert seen == (b"content", READER_BYTES, 1)
    assert (booked.now, payloads.open_readers) == (0, 0)
    # What is read beside it is booked together with it, before any of it is there.
    async with work.memory(100):
        assert await work.read(lambda reader: (reader.ordinals(FrameKind.DOCUMENT), booked.now)) == (
            {0},
            READER_BYTES + 100,
        )
    assert (booked.now, booked.largest, payloads.open_readers) == (0, READER_BYTES + 100, 0)
    await work.close()


async def test_an_operation_is_tried_again_where_others_have_the_memory(stored: tuple[Windows, OperationRow]) -> None:
    work = worked_on(stored, Booked(READER_BYTES - 1))
    with pytest.raises(PayloadUnavailable, match="memory"):
        await work.read(lambda reader: reader.read(FrameKind.DOCUMENT, 0))
    assert stored[0].open_readers == 0
    await work.close()


def test_who_reads_in_a_thread_books_it_as_well(stored: tuple[Windows, OperationRow]) -> None:
    """As evidence records and the audit trail do."""
    payloads, booked = stored[0], Booked()
    reader = OperationReader(payloads, records_of(stored[1].payloads))
    with reader.booked(booked.memory):
        assert (reader.read(FrameKind.DOCUMENT, 0), booked.now, payloads.open_readers) == (b"content", READER_BYTES, 1)
    assert (booked.now, payloads.open_readers) == (0, 0)


def test_a_preparation_books_a_batch_or_its_largest_document() -> None:
    assert memory_bytes(rows()) == 0
    assert memory_bytes(rows(10, 20)) == 30
    assert memory_bytes(rows(*[BATCH_BYTES // 2] * 9)) == BATCH_BYTES
    assert memory_bytes(rows(1, 9 * BATCH_BYTES, 1)) == COPIES * 9 * BATCH_BYTES
