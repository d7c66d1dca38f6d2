"""Memory for a document that needs more than the share of its request is booked, refused where others have it, and given back."""

import asyncio
import ctypes
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness.invoices import invoice
from harness.validators.local_signer import local_signer
from tests.support.pdf_bombs import compressed_catalog, numbers, object_stream

from batchseal._native import planner
from batchseal.admission.ledger import Ledger
from batchseal.admission.working import WorkingMemory
from batchseal.document import Credential, Description, Prepared, Refusal
from batchseal.errors import NoRoom
from batchseal.formats.pades.pades import Pades
from batchseal.formats.registry import Formats
from batchseal.operation import ContentType

BUDGET, SHARE = 100 << 20, 18 << 20


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger")
    yield made
    made.close()


def booked(ledger: Ledger) -> int:
    with ledger.booked() as totals:
        return totals.memory_bytes


async def test_it_is_booked_during_the_block_and_given_back(ledger: Ledger) -> None:
    memory, inside, leave = WorkingMemory(ledger, BUDGET, SHARE), threading.Event(), threading.Event()

    def work() -> int:
        with memory(30 << 20) as granted:
            inside.set()
            assert leave.wait(120)
            return granted

    working = asyncio.create_task(asyncio.to_thread(work))
    assert await asyncio.to_thread(inside.wait, 120)
    assert booked(ledger) == 30 << 20
    leave.set()
    assert await working == 30 << 20
    await asyncio.sleep(0)  # the loop gives it back in its next turn
    assert booked(ledger) == 0


async def test_what_others_have_is_refused_and_may_be_asked_for_again(ledger: Ledger) -> None:
    memory = WorkingMemory(ledger, BUDGET, SHARE)

    def work(wanted: int) -> int:
        with memory(wanted) as granted:
            return granted

    with ledger.booked():
        ledger.change(memory=BUDGET - (10 << 20))
    with pytest.raises(NoRoom) as refused:
        await asyncio.to_thread(work, 20 << 20)
    assert refused.value.retry_after_seconds
    assert booked(ledger) == BUDGET - (10 << 20)
    assert await asyncio.to_thread(work, 5 << 20) == 5 << 20


async def test_no_more_is_granted_than_a_request_alone_could_have(ledger: Ledger) -> None:
    memory = WorkingMemory(ledger, BUDGET, SHARE)
    with ledger.booked():
        ledger.change(memory=SHARE)

    def work() -> int:
        with memory(500 << 20) as granted:
            return granted

    assert await asyncio.to_thread(work) == BUDGET - SHARE


async def test_without_a_budget_everything_is_booked_and_nothing_refused(ledger: Ledger) -> None:
    memory = WorkingMemory(ledger)

    def work() -> int:
        with memory(500 << 20) as granted:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(120)
            return granted

    loop = asyncio.get_running_loop()
    with ledger.booked():
        ledger.change(memory=BUDGET)
    assert await asyncio.to_thread(work) == 500 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library")
async def test_what_was_booked_is_not_kept_by_the_heap(ledger: Ledger) -> None:
    """A tree is many small blocks. Behind them lies one that stays, so that the heap cannot shrink by itself."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    memory, stay = WorkingMemory(ledger, BUDGET, SHARE), []

    def work() -> int:
        with memory(60 << 20):
            blocks = [libc.malloc(1000) for _ in range(40_000)]
            for block in blocks:
                ctypes.memset(block, 1, 1000)
            stay.append(libc.malloc(1000))
            full = resident_bytes()
            for block in blocks:
                libc.free(block)
        return full - resident_bytes()

    assert await asyncio.to_thread(work) > 30 << 20
    libc.free(stay[0])


async def test_the_signer_does_not_wait_but_is_granted_no_more_than_the_service_has(ledger: Ledger) -> None:
    memory = WorkingMemory(ledger, BUDGET, SHARE, waits=False)
    with ledger.booked():
        ledger.change(memory=BUDGET)

    def work() -> tuple[int, int]:
        with memory(500 << 20) as granted:
            return granted, booked(ledger)

    assert await asyncio.to_thread(work) == (BUDGET - SHARE, 2 * BUDGET - SHARE)


# --- the format that asks for it --------------------------------------------------------------------------------------


class Asked:
    """A `Memory` that notes what it was asked for, and grants `granted` bytes at most."""

    def __init__(self, granted: int = 1 << 40) -> None:
        self.wanted: list[int] = []
        self._granted = granted

    @contextmanager
    def __call__(self, wanted_bytes: int) -> Iterator[int]:
        self.wanted.append(wanted_bytes)
        yield min(wanted_bytes, self._granted)


def prepared(content: bytes, memory: Asked) -> Prepared | Refusal:
    signer = local_signer()
    leaf = signer.certificate.dump()
    credential = Credential("c", (leaf,), "rsa", 256, "sha256", b"f" * 32)
    wanted = Description("d", "a.pdf", ContentType.PDF, "", "")
    formats = Formats([Pades()], has_time_stamps=False, memory=memory)
    (result,) = formats.prepare([(0, wanted, content)], credential, datetime.now(UTC))
    return result


def many_compressed() -> bytes:
    """A document without an xref that needs more memory than usual, and can be signed."""
    names = b"".join(b"%d %d " % (number, 0) for number in range(5, 60_000))
    packed = zlib.compress(names + b"null ", 9)
    page = b"3 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>\nendobj\n"
    head = b"%PDF-1.5\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>\nendobj\n"
    filler = b"%" + b"x" * 300_000 + b"\n"
    return head + page + filler + object_stream(4, 60_000, len(names), packed) + b"trailer<</Root 1 0 R>>\n"


def test_an_invoice_asks_for_nothing() -> None:
    memory = Asked()
    assert isinstance(prepared(invoice(1, 1, 184_000), memory), Prepared)
    assert memory.wanted == []


def test_a_document_that_needs_more_books_what_it_may_take_at_most() -> None:
    content, memory = many_compressed(), Asked()
    assert isinstance(prepared(content, memory), Prepared)
    size = len(content)
    assert memory.wanted == [planner.memory_bound(size) + planner.update_bound(size)]
    assert memory.wanted[0] <= 8 * size + (16 << 20)


@pytest.mark.parametrize("granted", [1, 1 << 20])
def test_a_document_that_needs_more_than_there_ever_is_is_refused_by_name(granted: int) -> None:
    refusal = prepared(many_compressed(), Asked(granted))
    assert isinstance(refusal, Refusal)
    assert "more memory than the limit allows" in refusal.cause


@pytest.mark.parametrize("make", [numbers(1), numbers(4), compressed_catalog])
def test_a_bomb_is_refused_and_asks_once(make: Callable[[int], bytes]) -> None:
    memory = Asked()
    assert isinstance(prepared(make(300_000), memory), Refusal)
    assert len(memory.wanted) <= 1
