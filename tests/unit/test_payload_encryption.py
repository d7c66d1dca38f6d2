"""Encryption around a payload store: what is stored, what is found of changes, what keys do, and what it costs in memory."""

import hashlib
import hmac
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.support.key_files import key_file, secret_of
from tests.support.memory_payloads import MemoryPayloads, StoredFrame

from batchseal.errors import NoSpace, PayloadDamaged, PayloadUnavailable
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.encrypted import EncryptedPayloads
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import Frame, PayloadRecord, Payloads
from batchseal.payloads.keys import KeyFile
from batchseal.payloads.local import LocalPayloads

RANDOM = random.Random(11)
DOCUMENT, PREPARED = FrameKind.DOCUMENT, FrameKind.PREPARED
PIECE, PRELUDE, TAG = 48 << 10, 16, 16
LARGE = RANDOM.randbytes(3 * PIECE + (1 << 20))
MEDIUM = RANDOM.randbytes(3 * PIECE + 100)


@pytest.fixture
def inner() -> MemoryPayloads:
    return MemoryPayloads()


@pytest.fixture
def store(inner: MemoryPayloads, tmp_path: Path) -> EncryptedPayloads:
    return with_keys(inner, tmp_path, "first")


def with_keys(inner: Payloads, folder: Path, *key_ids: str, **others: str) -> EncryptedPayloads:
    return EncryptedPayloads(inner, KeyFile(key_file(folder / "payload.keys", *key_ids, **others)))


def stored(store: Payloads, *frames: Frame, payload_id: UUID | None = None) -> PayloadRecord:
    upload = store.create(payload_id or uuid4())
    upload.begin()
    upload.append(frames)
    record = upload.commit(durable=True)
    upload.release()
    return record


def frame_of(inner: MemoryPayloads, record: PayloadRecord, ordinal: int, kind: FrameKind = DOCUMENT) -> StoredFrame:
    (found,) = (one for one in inner.stored[record.id].frames if (one.kind, one.ordinal) == (kind, ordinal))
    return found


def forge(frame: StoredFrame, content: bytes) -> None:
    """The content with the checksum that the store expects: damage by intention."""
    frame.content, frame.checksum = content, StoredFrame(0, 0, content, 0).computed_checksum


# --- what is stored ----------------------------------------------------------------------------------------------------


def test_the_stored_bytes_are_what_the_description_says(store: EncryptedPayloads, inner: MemoryPayloads) -> None:
    """They are decrypted here by other code: the key by RFC 5869 with the standard library, each piece by itself."""
    record = stored(store, (PREPARED, 7, b"prepared"), (DOCUMENT, 9, MEDIUM))
    assert record.encryption is not None and record.encryption.key_id == "first"
    made = hmac.digest(record.encryption.salt, secret_of("first"), "sha256")
    info, key = b"batchseal payload 1" + record.id.bytes, b""
    first = hmac.digest(made, info + b"\x01", "sha256")
    key, check = first, hmac.digest(made, first + info + b"\x02", "sha256")[:16]
    assert check == record.encryption.check
    content = frame_of(inner, record, 9).content
    version, flags, zero, number, length = struct.unpack_from("<BBHIQ", content)
    assert (version, flags, zero, number, length) == (1, 0, 0, 1, len(MEDIUM))
    found = b""
    for piece in range(4):
        one = content[PRELUDE + piece * (PIECE + TAG) :][: PIECE + TAG]
        associated = content[:PRELUDE] + struct.pack("<BII", DOCUMENT, 9, piece)
        found += AESGCM(key).decrypt(struct.pack("<III", number, piece, 0), one, associated)
    assert found == MEDIUM


def test_nothing_of_a_document_is_in_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "payloads"
    folder.mkdir()
    marks = [
        b"ISSUED TO SOMEBODY " * 5,
        b"<a>IBAN PT50 0002</a>" * 60_000,
        b"%PDF-1.7 LARGE" + RANDOM.randbytes(2 << 20),
    ]
    store = with_keys(PayloadsBySize(folder), tmp_path, "first")
    record = stored(store, *((DOCUMENT, n, mark) for n, mark in enumerate(marks)))
    (file,) = folder.iterdir()
    on_disk = file.read_bytes()
    assert not any(mark[:19] in on_disk for mark in marks)
    assert secret_of("first") not in on_disk
    reader = store.open(record)
    assert [reader.read(DOCUMENT, n) for n in range(3)] == marks
    reader.close()


def test_a_frame_is_compressed_before_it_is_encrypted(store: EncryptedPayloads, inner: MemoryPayloads) -> None:
    xml = b"<cbc:ID>INV-1</cbc:ID>" * 20_000
    record = stored(store, (DOCUMENT, 0, xml))
    assert record.stored_bytes < len(xml) / 20
    reader = store.open(record)
    assert reader.read(DOCUMENT, 0) == xml
    assert reader.checked(DOCUMENT, 0).read(100, 5000) == xml[100:5000]


def test_the_space_stays_near_one_times_the_payload(tmp_path: Path) -> None:
    folder = tmp_path / "payloads"
    folder.mkdir()
    contents = [RANDOM.randbytes(200_000) for _ in range(20)]
    record = stored(
        with_keys(LocalPayloads(folder), tmp_path, "a"), *((DOCUMENT, n, c) for n, c in enumerate(contents))
    )
    assert record.stored_bytes / sum(map(len, contents)) < 1.001


def test_no_nonce_comes_twice_for_a_key(store: EncryptedPayloads, inner: MemoryPayloads) -> None:
    """With the same key and nonce, equal contents would be stored as equal bytes."""
    payload_id, contents = uuid4(), list[bytes]()
    for _ in range(2):  # the same UUID, as if a random one came twice
        inner.stored.clear()
        upload = store.create(payload_id)
        upload.begin()
        inner.faults.capacity_bytes = inner.faults.capacity_bytes - inner.room_bytes() + 1_000
        with pytest.raises(NoSpace):
            upload.append([(DOCUMENT, 0, MEDIUM)])
        inner.faults.capacity_bytes = 1 << 30
        for _ in range(3):
            upload.append([(DOCUMENT, 0, MEDIUM), (DOCUMENT, 0, LARGE)])
        contents += [one.content for one in inner.stored[payload_id].frames]
        upload.abandon()
    pieces = [c[PRELUDE + n * (PIECE + TAG) :][:PIECE] for c in contents for n in range(3)]
    assert len(set(pieces)) == len(pieces) == 2 * 6 * 3
    numbers = [struct.unpack_from("<BBHI", content)[3] for content in contents[:6]]
    assert numbers == [1, 2, 3, 4, 5, 6], "what was refused has used up its number"


# --- somebody else may write to the store --------------------------------------------------------------------------------


def swapped(content: bytes) -> bytes:
    first, second = (content[PRELUDE + n * (PIECE + TAG) :][: PIECE + TAG] for n in (0, 1))
    return content[:PRELUDE] + second + first + content[PRELUDE + 2 * (PIECE + TAG) :]


def twice(content: bytes) -> bytes:
    first = content[PRELUDE : PRELUDE + PIECE + TAG]
    return content[:PRELUDE] + first + first + content[PRELUDE + 2 * (PIECE + TAG) :]


def cut_between_pieces(content: bytes) -> bytes:
    return content[: PRELUDE + 2 * (PIECE + TAG)]


def cut_with_its_length(content: bytes) -> bytes:
    """The prelude says what is left."""
    return content[:8] + struct.pack("<Q", 2 * PIECE) + cut_between_pieces(content)[PRELUDE:]


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the first piece": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "a bit of the last tag": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "pieces swapped": swapped,
    "a piece twice": twice,
    "cut between pieces": cut_between_pieces,
    "cut, and the length with it": cut_with_its_length,
    "cut in a piece": lambda content: content[:-5],
    "longer": lambda content: content + bytes(5),
    "said to be compressed": lambda content: content[:1] + b"\x01" + content[2:],
    "another number": lambda content: content[:4] + b"\x09" + content[5:],
    "a version of the future": lambda content: b"\x02" + content[1:],
    "a length beyond everything": lambda content: content[:8] + b"\xff" * 8 + content[PRELUDE:],
    "only a prelude": lambda content: content[:PRELUDE],
    "nothing": lambda content: b"",
    "not encrypted": lambda content: b"%PDF-1.7 another document",
}


@pytest.mark.parametrize("content", [MEDIUM, LARGE], ids=["medium", "large"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_with_a_right_checksum_is_found(
    store: EncryptedPayloads, inner: MemoryPayloads, change: str, content: bytes
) -> None:
    record = stored(store, (DOCUMENT, 0, b"before"), (DOCUMENT, 1, content), (DOCUMENT, 2, b"behind"))
    frame = frame_of(inner, record, 1)
    forge(frame, CHANGES[change](frame.content))
    reader = store.open(record)
    with pytest.raises(PayloadDamaged, match="1"):
        reader.read(DOCUMENT, 1)
    with pytest.raises(PayloadDamaged, match="1"):
        reader.checked(DOCUMENT, 1)  # before the first piece goes out
    assert reader.ordinals(DOCUMENT) == {0, 2}
    assert [reader.read(DOCUMENT, n) for n in (0, 2)] == [b"before", b"behind"]


def test_what_changes_after_the_check_is_found_before_it_goes_out(
    store: EncryptedPayloads, inner: MemoryPayloads
) -> None:
    record = stored(store, (DOCUMENT, 0, LARGE))
    checked, frame = store.open(record).checked(DOCUMENT, 0), frame_of(inner, record, 0)
    assert checked.read(PIECE - 3, PIECE + 3) == LARGE[PIECE - 3 : PIECE + 3]
    forge(frame, swapped(frame.content))
    with pytest.raises(PayloadDamaged):
        checked.read(0, PIECE)
    assert checked.read(2 * PIECE, 2 * PIECE + 9) == LARGE[2 * PIECE : 2 * PIECE + 9]


def test_a_frame_in_the_place_of_another_is_found(store: EncryptedPayloads, inner: MemoryPayloads) -> None:
    record = stored(store, (DOCUMENT, 0, b"of one"), (DOCUMENT, 1, b"of another"), (PREPARED, 0, b"ready"))
    zero, one, ready = inner.stored[record.id].frames
    contents = zero.content, one.content, ready.content
    for first, second in ((zero, one), (zero, ready)):
        first.content, second.content = second.content, first.content
        first.checksum, second.checksum = second.checksum, first.checksum
        reader = store.open(record)
        for frame in (first, second):
            with pytest.raises(PayloadDamaged):
                reader.read(FrameKind(frame.kind), frame.ordinal)
        for frame, content in zip((zero, one, ready), contents, strict=True):
            forge(frame, content)
    assert store.open(record).read(DOCUMENT, 1) == b"of another"


def test_a_frame_of_another_payload_is_found(store: EncryptedPayloads, inner: MemoryPayloads) -> None:
    mine, other = stored(store, (DOCUMENT, 0, b"mine")), stored(store, (DOCUMENT, 0, b"other"))
    forge(frame_of(inner, mine, 0), frame_of(inner, other, 0).content)
    with pytest.raises(PayloadDamaged):
        store.open(mine).read(DOCUMENT, 0)


# --- keys ----------------------------------------------------------------------------------------------------------------


def test_what_was_stored_without_a_key_is_read_with_one(inner: MemoryPayloads, tmp_path: Path) -> None:
    record = stored(inner, (DOCUMENT, 0, b"before there was a key"))
    assert record.encryption is None
    assert with_keys(inner, tmp_path, "first").open(record).read(DOCUMENT, 0) == b"before there was a key"


def test_what_was_stored_with_a_key_waits_for_one(inner: MemoryPayloads, tmp_path: Path) -> None:
    """Whoever starts the service without the key file again must not get what cannot be read, nor lose it."""
    record = stored(with_keys(inner, tmp_path, "first"), (DOCUMENT, 0, b"content"))
    with pytest.raises(PayloadUnavailable, match="--payload-key-file is not set"):
        inner.open(record)
    assert with_keys(inner, tmp_path, "first").open(record).read(DOCUMENT, 0) == b"content"


def test_the_first_key_encrypts_and_all_decrypt(inner: MemoryPayloads, tmp_path: Path) -> None:
    old = stored(with_keys(inner, tmp_path, "may"), (DOCUMENT, 0, b"old"))
    store = with_keys(inner, tmp_path, "november", "may")
    new = stored(store, (DOCUMENT, 0, b"new"))
    assert [one.encryption and one.encryption.key_id for one in (old, new)] == ["may", "november"]
    assert [store.open(one).read(DOCUMENT, 0) for one in (old, new)] == [b"old", b"new"]


def test_a_file_that_changes_is_read_again(inner: MemoryPayloads, tmp_path: Path) -> None:
    store = with_keys(inner, tmp_path, "may")
    key_file(tmp_path / "payload.keys", "november", "may")
    new = stored(store, (DOCUMENT, 0, b"new"))
    assert new.encryption is not None and new.encryption.key_id == "november"
    (tmp_path / "payload.keys").write_text("november is not a key")
    assert store.open(new).read(DOCUMENT, 0) == b"new", "what cannot be used changes nothing"
    (tmp_path / "payload.keys").unlink()
    assert store.open(new).read(DOCUMENT, 0) == b"new"


def test_a_key_that_is_missing_is_waited_for(inner: MemoryPayloads, tmp_path: Path) -> None:
    old = stored(with_keys(inner, tmp_path, "may"), (DOCUMENT, 0, b"old"))
    store = with_keys(inner, tmp_path, "november")
    with pytest.raises(PayloadUnavailable, match="'may'"):
        store.open(old)
    key_file(tmp_path / "payload.keys", "november", "may")
    assert store.open(old).read(DOCUMENT, 0) == b"old"


def test_another_key_under_the_same_id_is_no_damage(inner: MemoryPayloads, tmp_path: Path) -> None:
    old = stored(with_keys(inner, tmp_path, "may"), (DOCUMENT, 0, b"old"))
    (tmp_path / "payload.keys").write_text("may q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n")
    with pytest.raises(PayloadUnavailable, match="another key 'may'"):
        EncryptedPayloads(inner, KeyFile(tmp_path / "payload.keys")).open(old)


def test_a_key_that_is_said_to_be_lost_is_waited_for_no_longer(inner: MemoryPayloads, tmp_path: Path) -> None:
    old = stored(with_keys(inner, tmp_path, "may"), (DOCUMENT, 0, b"old"))
    with pytest.raises(PayloadDamaged, match="'may', which is lost"):
        with_keys(inner, tmp_path, "november", may="lost").open(old)


def test_what_is_encrypted_is_deleted_without_its_key(inner: MemoryPayloads, tmp_path: Path) -> None:
    old = stored(with_keys(inner, tmp_path, "may"), (DOCUMENT, 0, b"old"))
    assert with_keys(inner, tmp_path, "november").delete([old]) > 0
    assert not inner.stored


def test_a_record_says_nothing_of_the_key(store: EncryptedPayloads) -> None:
    record = stored(store, (DOCUMENT, 0, b"content"))
    assert secret_of("first") not in msgspec.msgpack.encode(record)
    assert hashlib.sha256(secret_of("first")).digest() not in msgspec.msgpack.encode(record)


# --- memory ----------------------------------------------------------------------------------------------------------------


def test_a_large_document_is_held_once(tmp_path: Path) -> None:
    """The caller holds it while it is written, and whoever reads it as a whole holds what was read."""
    folder, size = tmp_path / "payloads", 30 << 20
    folder.mkdir()
    store, content = with_keys(LocalPayloads(folder), tmp_path, "first"), RANDOM.randbytes(size)
    stored(store, (DOCUMENT, 0, b"what is loaded with the first one"))
    tracemalloc.start()
    try:
        record = stored(store, (DOCUMENT, 0, content))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
        reader = store.open(record)
        tracemalloc.reset_peak()
        checked = reader.checked(DOCUMENT, 0)
        at = 5 * PIECE - 7
        assert checked.read(at, at + PIECE) == content[at : at + PIECE]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.reset_peak()
        assert reader.read(DOCUMENT, 0) == content
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size
        reader.close()
    finally:
        tracemalloc.stop()


def test_of_many_small_documents_few_are_held_encrypted(tmp_path: Path) -> None:
    folder = tmp_path / "payloads"
    folder.mkdir()
    store, content = with_keys(LocalPayloads(folder), tmp_path, "first"), RANDOM.randbytes(200_000)
    stored(store, (DOCUMENT, 0, b"what is loaded with the first one"))
    tracemalloc.start()
    try:
        stored(store, *((DOCUMENT, n, content) for n in range(100)))
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()
