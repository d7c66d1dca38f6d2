"""What every payload store promises (payloads/interface.py). Each test runs on each store of `stores.STORES`."""

import random
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.conformance.stores import STORES, StoreUnderTest, begun, documents, stored

from batchseal.errors import NoSpace, PayloadDamaged, PayloadUnavailable
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Upload

RANDOM = random.Random(7)
DOCUMENT, PREPARED = FrameKind.DOCUMENT, FrameKind.PREPARED


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


# --- what is written is what is read -------------------------------------------------------------------------------


def test_documents_come_back_as_they_were(store: StoreUnderTest) -> None:
    contents = [RANDOM.randbytes(200_000), b"<a>text</a>" * 20_000, b"", b"x", RANDOM.randbytes(9 << 20)]
    reader = store.payloads.open(stored(store, documents(*contents)))
    assert [reader.read(DOCUMENT, n) for n in range(5)] == contents
    assert reader.ordinals(DOCUMENT) == set(range(5))
    reader.close()


@pytest.mark.parametrize("content", [RANDOM.randbytes(3_000_001), b"<a>text</a>" * 300_000, b"x" * 50_000, b""])
def test_a_frame_is_read_again_in_pieces(store: StoreUnderTest, content: bytes) -> None:
    """Whatever its size is, and whether or not the store compressed it."""
    reader = store.payloads.open(stored(store, documents(b"before", content, b"behind")))
    checked = reader.checked(DOCUMENT, 1)
    assert checked.total_bytes == len(content)
    assert b"".join(checked.read(at, at + 49_152) for at in range(0, len(content), 49_152)) == content
    last = max(0, len(content) - 5)
    for start, stop in ((0, 1), (49_000, 49_300), (last, last + 10), (100_000, 100_000), (7, 3)):
        assert checked.read(start, stop) == content[start:stop]
    reader.close()


@pytest.mark.parametrize("kind", [kind for kind in FrameKind if kind is not FrameKind.UNKNOWN])
def test_every_kind_of_frame(store: StoreUnderTest, kind: FrameKind) -> None:
    largest_ordinal = (1 << 32) - 1
    reader = store.payloads.open(stored(store, [(kind, 0, b"first"), (kind, largest_ordinal, bytearray(b"last"))]))
    assert (reader.read(kind, 0), reader.read(kind, largest_ordinal)) == (b"first", b"last")
    assert reader.ordinals(kind) == {0, largest_ordinal}
    for other in set(FrameKind) - {kind}:
        assert reader.ordinals(other) == set()
        assert not reader.has(other, 0)
    reader.close()


def test_many_frames_in_several_calls(store: StoreUnderTest) -> None:
    upload = begun(store)
    sizes = upload.append((DOCUMENT, n, str(n).encode() * 50) for n in range(3000))
    assert len(sizes) == 3000
    assert upload.append([]) == []
    upload.append([(PREPARED, 2999, memoryview(b"prepared"))])
    reader = store.payloads.open(upload.commit(durable=True))
    assert reader.ordinals(DOCUMENT) == set(range(3000))
    assert reader.read(DOCUMENT, 2999) == b"2999" * 50
    assert reader.read(PREPARED, 2999) == b"prepared"
    reader.close()
    upload.release()


def test_a_later_frame_replaces_an_earlier_one(store: StoreUnderTest) -> None:
    reader = store.payloads.open(stored(store, [(DOCUMENT, 0, b"first"), (DOCUMENT, 0, b"second")]))
    assert reader.read(DOCUMENT, 0) == b"second"
    reader.close()


def test_several_readers_at_once(store: StoreUnderTest) -> None:
    contents = [RANDOM.randbytes(50_000) for _ in range(20)]
    record, together = stored(store, documents(*contents)), threading.Barrier(8)

    def read(_: int) -> list[bytes]:
        reader = store.payloads.open(record)
        together.wait(120)
        try:
            return [reader.read(DOCUMENT, n) for n in range(20)]
        finally:
            reader.close()

    with ThreadPoolExecutor(8) as pool:
        assert all(found == contents for found in pool.map(read, range(8)))


# --- an upload -----------------------------------------------------------------------------------------------------


def test_what_is_committed_is_never_written_again(store: StoreUnderTest) -> None:
    upload = begun(store)
    upload.append(documents(b"content"))
    record = upload.commit(durable=True)
    before = store.content(record.id)
    with pytest.raises(ValueError, match="never written again"):
        upload.append(documents(b"more"))
    upload.release()
    second = store.create(record.id)
    if store.finds_by_id:
        with pytest.raises(NoSpace):
            second.begin()
    else:
        second.begin()
        second.append(documents(b"another"))
        assert second.commit(durable=True) != record
    second.abandon()
    assert store.content(record.id) == before


def test_nothing_can_be_read_before_it_is_released_but_what_is_committed(store: StoreUnderTest) -> None:
    upload = begun(store)
    upload.append(documents(b"content"))
    record = upload.commit(durable=False)
    reader = store.payloads.open(record)  # a resubmission is compared before it is given up
    assert reader.read(DOCUMENT, 0) == b"content"
    reader.close()
    upload.abandon()
    assert store.ids() == set()


@pytest.mark.parametrize("reached", ["nothing", "begun", "appended", "committed", "released"])
def test_an_upload_that_is_abandoned_leaves_nothing(store: StoreUnderTest, reached: str) -> None:
    upload = store.create(uuid4())
    steps: dict[str, Callable[[], object]] = {
        "begun": upload.begin,
        "appended": lambda: upload.append(documents(b"x" * 1000)),
        "committed": lambda: upload.commit(durable=True),
        "released": upload.release,
    }
    for name, step in steps.items():
        if reached == "nothing":
            break
        step()
        if name == reached:
            break
    upload.abandon()
    upload.abandon()
    assert store.ids() == set()
    assert store.payloads.stored_bytes() == 0


def test_no_space_leaves_the_upload_as_it_was(store: StoreUnderTest) -> None:
    upload = begun(store)
    upload.append(documents(b"first"))
    before = upload.stored_bytes
    with store.full(50_000), pytest.raises(NoSpace):
        upload.append((DOCUMENT, n, RANDOM.randbytes(20_000)) for n in range(1, 6))
    assert upload.stored_bytes == before
    upload.append([(DOCUMENT, 6, b"last")])
    record = upload.commit(durable=True)
    upload.release()
    assert record.stored_bytes == upload.stored_bytes > before
    reader = store.payloads.open(record)
    assert reader.ordinals(DOCUMENT) == {0, 6}
    assert [reader.read(DOCUMENT, n) for n in (0, 6)] == [b"first", b"last"]
    reader.close()


def test_flush_and_publish_run_beside_append(store: StoreUnderTest) -> None:
    upload, contents = begun(store), [RANDOM.randbytes(3000) for _ in range(200)]
    ended = threading.Event()

    def beside(call: Callable[[], None]) -> int:
        calls = 0
        while not ended.is_set() or not calls:
            call()
            calls += 1
        return calls

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(beside, call) for call in (upload.flush, upload.publish)]
        try:
            for n, content in enumerate(contents):
                upload.append([(DOCUMENT, n, content)])
        finally:
            ended.set()
        assert all(call.result(120) for call in calls)
    reader = store.payloads.open(upload.commit(durable=True))
    assert [reader.read(DOCUMENT, n) for n in range(200)] == contents
    reader.close()
    upload.release()


def test_the_bytes_that_an_upload_takes_are_known_while_it_is_written(store: StoreUnderTest) -> None:
    upload = store.create(uuid4())
    assert upload.stored_bytes == 0
    upload.begin()
    upload.append(documents(RANDOM.randbytes(5000)))
    assert upload.stored_bytes >= 5000
    assert store.payloads.stored_bytes() == 0, "uploads under way are booked by those who write them"
    upload.commit(durable=True)
    upload.release()
    assert store.payloads.stored_bytes() >= 5000
    assert store.payloads.free_bytes() > 0


# --- damaged is final, unavailable is not ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DOCUMENT, PREPARED])
def test_damage_of_a_frame_costs_that_one_alone(store: StoreUnderTest, kind: FrameKind) -> None:
    record = stored(store, [(kind, n, RANDOM.randbytes(5000)) for n in range(5)])
    store.damage(record.id, kind, 2)
    reader = store.payloads.open(record)
    assert reader.ordinals(kind) == {0, 1, 3, 4}
    with pytest.raises(PayloadDamaged, match="2"):
        reader.read(kind, 2)
    for n in (0, 1, 3, 4):
        assert len(reader.read(kind, n)) == 5000
    reader.close()


def test_damage_is_found_before_the_first_piece(store: StoreUnderTest) -> None:
    record = stored(store, documents(b"whole" * 100, RANDOM.randbytes(200_000)))
    store.damage(record.id, DOCUMENT, 1)
    reader = store.payloads.open(record)
    with pytest.raises(PayloadDamaged, match="1"):
        reader.checked(DOCUMENT, 1)
    with pytest.raises(PayloadDamaged, match="2"):
        reader.checked(DOCUMENT, 2)
    assert reader.checked(DOCUMENT, 0).read(0, 5) == b"whole"
    reader.close()


def test_damage_that_comes_between_the_check_and_the_pieces_is_found(store: StoreUnderTest) -> None:
    record = stored(store, documents(RANDOM.randbytes(20_000_000)))  # more than any store reads ahead
    reader = store.payloads.open(record)
    checked = reader.checked(DOCUMENT, 0)
    store.damage(record.id, DOCUMENT, 0)
    with pytest.raises(PayloadDamaged, match="changed"):
        checked.read(0, 20_000_000)
    reader.close()


def test_a_frame_that_is_not_there_is_damage(store: StoreUnderTest) -> None:
    reader = store.payloads.open(stored(store, documents(b"content")))
    assert not reader.has(DOCUMENT, 1)
    with pytest.raises(PayloadDamaged, match="1"):
        reader.read(DOCUMENT, 1)
    reader.close()


def test_a_last_frame_that_was_written_in_part_is_passed_over(store: StoreUnderTest) -> None:
    record = stored(store, documents(b"one" * 100, RANDOM.randbytes(300)))
    store.cut_off(record.id)
    reader = store.payloads.open(record)
    assert reader.ordinals(DOCUMENT) == {0}
    assert not reader.has(DOCUMENT, 1)
    reader.close()


def test_a_payload_that_is_gone_is_damage(store: StoreUnderTest) -> None:
    with pytest.raises(PayloadDamaged, match="cannot be opened"):
        store.payloads.open(PayloadRecord(uuid4()))
    assert not issubclass(PayloadUnavailable, PayloadDamaged)
    assert not issubclass(PayloadDamaged, PayloadUnavailable)


def test_what_cannot_be_had_just_now_is_not_damaged(store: StoreUnderTest) -> None:
    record = stored(store, documents(b"content"))
    with store.unavailable():
        with pytest.raises(PayloadUnavailable):
            store.payloads.open(record)
        with pytest.raises(PayloadUnavailable):
            store.payloads.open(PayloadRecord(uuid4()))
        with pytest.raises(PayloadUnavailable):
            store.payloads.make_durable(record)
        with pytest.raises(PayloadUnavailable):
            store.payloads.stored_bytes()
        with pytest.raises(PayloadUnavailable):
            store.payloads.free_bytes()
        with pytest.raises((PayloadUnavailable, NoSpace)):
            store.create(uuid4()).begin()
    reader = store.payloads.open(record)
    assert reader.read(DOCUMENT, 0) == b"content"
    reader.close()


def test_what_is_gone_needs_not_be_made_durable(store: StoreUnderTest) -> None:
    record = stored(store, documents(b"content"))
    store.payloads.make_durable(record)
    store.payloads.delete([record])
    store.payloads.make_durable(record)


# --- deleting --------------------------------------------------------------------------------------------------------


def test_deleting_returns_what_it_freed_and_may_be_repeated(store: StoreUnderTest) -> None:
    payloads = store.payloads
    first, second, third = [stored(store, documents(RANDOM.randbytes(9000))) for _ in range(3)]
    everything = payloads.stored_bytes()
    freed = payloads.delete([first, PayloadRecord(uuid4()), second])
    assert freed == everything - payloads.stored_bytes() >= 18_000
    assert payloads.delete([first, second]) == 0
    assert store.ids() == {third.id}
    assert payloads.delete([]) == 0


# --- the sweep takes what nobody needs, whenever an upload begins or ends -----------------------------------------------


async def swept(store: StoreUnderTest, live: Callable[[], set[PayloadRecord]]) -> set[UUID]:
    async def answer() -> AsyncGenerator[list[PayloadRecord], None]:
        for record in live():
            yield [record]

    return set(await store.payloads.sweep(answer))


async def test_a_sweep_takes_orphans_only(store: StoreUnderTest) -> None:
    named, orphan = [stored(store, documents(b"content")) for _ in range(2)]
    cut_off = begun(store)  # as a crash leaves it: nobody writes it any more
    cut_off.release()
    uploading = begun(store)
    shown = {cut_off.payload_id, uploading.payload_id} if store.shows_uploads else set()
    assert await swept(store, lambda: {named}) == {orphan.id} | (shown & {cut_off.payload_id})
    assert store.ids() == {named.id} | (shown & {uploading.payload_id})
    assert await swept(store, lambda: {named}) == set()
    uploading.append(documents(b"goes on"))
    uploading.commit(durable=True)
    assert await swept(store, lambda: {named}) == set()
    uploading.release()
    assert await swept(store, lambda: {named}) == {uploading.payload_id}


async def test_an_upload_that_begins_while_a_sweep_looks_stays(store: StoreUnderTest) -> None:
    uploads: list[Upload] = []

    def live() -> set[PayloadRecord]:
        uploads.append(begun(store))
        return set()

    assert await swept(store, live) == set()
    assert store.ids() == ({upload.payload_id for upload in uploads} if store.shows_uploads else set())
    for upload in uploads:
        upload.append(documents(b"goes on"))
        reader = store.payloads.open(upload.commit(durable=True))
        assert reader.read(DOCUMENT, 0) == b"goes on"
        reader.close()
        upload.abandon()


@pytest.mark.parametrize("ends_in", [1, 2])
async def test_an_upload_that_ends_while_a_sweep_looks_stays(store: StoreUnderTest, ends_in: int) -> None:
    """Its row is committed before it is released."""
    upload, rows, asked = begun(store), set[PayloadRecord](), 0
    orphan = stored(store, documents(b"nobody needs it"))
    record = upload.commit(durable=True)

    def live() -> set[PayloadRecord]:
        nonlocal asked
        asked += 1
        if asked == ends_in:
            rows.add(record)
            upload.release()
        return set(rows)

    assert await swept(store, live) == {orphan.id}
    assert await swept(store, live) == set()
    assert store.ids() == {record.id}
    upload.release()


async def test_an_upload_that_is_given_up_while_a_sweep_looks_is_no_trouble(store: StoreUnderTest) -> None:
    upload, orphan = begun(store), stored(store, documents(b"content"))

    def live() -> set[PayloadRecord]:
        upload.abandon()
        store.payloads.delete([orphan])
        return set()

    await swept(store, live)
    assert store.ids() == set()


async def test_a_sweep_of_what_is_away_is_left_to_the_next_one(store: StoreUnderTest) -> None:
    orphan = stored(store, documents(b"content"))
    with store.unavailable():
        assert await swept(store, set) == set()
    assert store.ids() == {orphan.id}
    assert await swept(store, set) == {orphan.id}
