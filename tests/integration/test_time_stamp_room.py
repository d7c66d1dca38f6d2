"""The room for a time stamp follows the authority: it is learned, kept, and widened where a token is longer than those before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from asn1crypto import pem
from tests.integration.test_upstream_timestamps import Connect, Stamping, stamped_at, stamping
from tests.support.upstream import CONTENTS, Running

from batchseal.document import DEFAULT_TIME_STAMP_BYTES, MAX_TIME_STAMP_BYTES, ToSign
from batchseal.operation import DocumentStatus, OperationStatus, SignError
from batchseal.signature import Level
from batchseal.signer.stamp_room import StampRoom, room_for
from batchseal.store.time_stamp_sizes import TimeStampSizes

DOCUMENTS = CONTENTS[:6]


@asynccontextmanager
async def service(connect_store: Connect, authority: Stamping, folder: Path, address: str) -> AsyncIterator[Running]:
    """A service with a signer that knows nothing but what the database says."""
    await asyncio.to_thread(folder.mkdir)
    async with stamping(connect_store, folder, address, authority.roots) as running:
        yield running


async def seal(running: Running, authority: Stamping, reference: str) -> tuple[int, int]:
    """Seals DOCUMENTS and has a validator judge them. Returns how often they were signed, and how many payloads were added."""
    before = sum(running.double.sent.values())
    row, results = await running.finished((await running.submit(reference, DOCUMENTS, applyTimestamp=True)).id)
    assert row.status is OperationStatus.EXECUTED, [result.row.cause for result in results]
    root = await asyncio.to_thread(Path(authority.roots).read_bytes)
    roots = [running.double.certificate, pem.unarmor(root)[2]]
    for result in results:
        signed = b"".join(result.segments)
        validity = await asyncio.to_thread(stamped_at, signed, roots)
        assert validity.valid and validity.trusted
        assert len(signed) == result.row.content_bytes + result.row.additional_bytes
    return sum(running.double.sent.values()) - before, len(row.further_payloads)


# The last two lengths are of public reports; the first is a chain of four certificates with RSA keys of 4096 bits.
@pytest.mark.parametrize("bulk_bytes", [7_600, 11_000, 0, 40_000])
async def test_the_room_is_learned_before_the_first_document_is_signed(
    connect_store: Connect, tmp_path: Path, bulk_bytes: int
) -> None:
    authority = Stamping(tmp_path)
    authority.bulk_bytes = bulk_bytes
    async with authority.serve() as address:
        async with service(connect_store, authority, tmp_path / "first", address) as running:
            assert await seal(running, authority, "first") == (len(DOCUMENTS), 1)
            assert authority.calls == 1 + len(DOCUMENTS)
        # A later start asks nobody, and its workers prepare the documents as they arrive.
        async with service(connect_store, authority, tmp_path / "second", address) as running:
            assert await seal(running, authority, "second") == (len(DOCUMENTS), 0)
            assert authority.calls == 1 + 2 * len(DOCUMENTS)


async def test_documents_are_prepared_anew_once_if_tokens_have_become_longer(
    connect_store: Connect, tmp_path: Path
) -> None:
    authority = Stamping(tmp_path)
    async with authority.serve() as address:
        await TimeStampSizes((await connect_store()).database).note({address: 1500})
        async with service(connect_store, authority, tmp_path / "s", address) as running:
            assert await seal(running, authority, "short") == (len(DOCUMENTS), 0)
            authority.bulk_bytes = 12_000
            assert await seal(running, authority, "longer") == (2 * len(DOCUMENTS), 1)
            # The worker still believes in the old room. The signer knows better, before anything is signed.
            assert await seal(running, authority, "known") == (len(DOCUMENTS), 1)


class Growing(Stamping):
    """An authority whose tokens grow by 12 KB with each answer."""

    async def handle(self, request: object) -> object:  # type: ignore[override]
        self.bulk_bytes += 12_000
        return await super().handle(request)  # type: ignore[arg-type]


async def test_a_token_that_is_longer_again_ends_the_document(connect_store: Connect, tmp_path: Path) -> None:
    authority = Growing(tmp_path)
    async with authority.serve() as address, service(connect_store, authority, tmp_path / "s", address) as running:
        row, (result,) = await running.finished((await running.submit("one", CONTENTS[:1], applyTimestamp=True)).id)
    assert row.status is OperationStatus.EXECUTION_FAILED
    assert (result.row.status, result.row.sign_error) == (DocumentStatus.ERROR_SIGNING, SignError.TIMESTAMP_SIGN_ERROR)
    assert "made for it after an earlier one" in result.row.cause
    assert sum(running.double.sent.values()) == 2
    assert authority.calls == 3


async def test_a_token_without_measure_is_refused_and_makes_no_room(connect_store: Connect, tmp_path: Path) -> None:
    authority = Stamping(tmp_path)
    authority.bulk_bytes = MAX_TIME_STAMP_BYTES
    async with authority.serve() as address, service(connect_store, authority, tmp_path / "s", address) as running:
        row, (result,) = await running.finished((await running.submit("one", CONTENTS[:1], applyTimestamp=True)).id)
        assert running.upstream.token_bytes == {address: 0}
    assert row.status is OperationStatus.EXECUTION_FAILED
    assert f"bytes, the limit is {MAX_TIME_STAMP_BYTES}" in result.row.cause
    assert sum(running.double.sent.values()) == 1


async def test_a_trial_in_vain_is_not_repeated_and_the_first_token_teaches(
    connect_store: Connect, tmp_path: Path
) -> None:
    authority = Stamping(tmp_path)
    authority.fault, authority.bulk_bytes = "garbage", 12_000
    async with authority.serve() as address:
        for start in ("first", "second"):
            async with service(connect_store, authority, tmp_path / start, address) as running:
                (row, _) = await running.finished((await running.submit(start, CONTENTS[:1])).id)
                assert row.status is OperationStatus.EXECUTED
                assert authority.calls == (0 if start == "first" else 1)  # nobody asked for a time stamp
                room = StampRoom(TimeStampSizes(running.parts.store.database), running.upstream)
                assert await room.find() == DEFAULT_TIME_STAMP_BYTES
                assert authority.calls == 1
        authority.fault = ""
        async with service(connect_store, authority, tmp_path / "third", address) as running:
            assert await seal(running, authority, "third") == (2 * len(DOCUMENTS), 1)
            # Once a token was too long, none is asked for that would not fit either.
            assert len(DOCUMENTS) < authority.calls - 1 < 2 * len(DOCUMENTS)


async def test_one_of_many_instances_makes_the_trial(connect_store: Connect, tmp_path: Path) -> None:
    authority = Stamping(tmp_path)
    async with authority.serve() as address, service(connect_store, authority, tmp_path / "s", address) as running:
        stores = [await connect_store(uuid4()) for _ in range(4)]
        rooms = [StampRoom(TimeStampSizes(store.database), running.upstream) for store in stores]
        await asyncio.gather(*(room.find() for room in rooms for _ in range(3)))
        assert authority.calls == 1
        expected = room_for(running.upstream.token_bytes[address])
        assert {await room.find() for room in rooms} == {expected}
        assert {await room.known() for room in rooms} == {expected}


def test_the_margin() -> None:
    assert [room_for(size) for size in (0, 1_300, 7_650, 8_840, 12_465, 40_000)] == [
        *(DEFAULT_TIME_STAMP_BYTES, 1_300 + 2_048, 7_650 + 2_048, 8_840 + 2_210, 12_465 + 3_116, MAX_TIME_STAMP_BYTES)
    ]


async def test_what_was_prepared_with_less_room_does_not_fit(connect_store: Connect, tmp_path: Path) -> None:
    authority = Stamping(tmp_path)
    async with authority.serve() as address, service(connect_store, authority, tmp_path / "s", address) as running:
        sizes = TimeStampSizes(running.parts.store.database)
        await sizes.note({address: 9_000})
        await sizes.note({address: 5_000})
        room = StampRoom(sizes, running.upstream)
        assert await room.known() == 9_000 + 2_250
        fits = [room.fits(ToSign(0, b"", 0, *one)) for one in ((Level.B, 0), (Level.T, 8_999), (Level.T, 9_000))]
        assert fits == [True, False, True]
        assert authority.calls == 0
