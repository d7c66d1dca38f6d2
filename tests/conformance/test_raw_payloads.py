"""Payloads as bytes: what is read from one store and written into another one of its kind is the same payload there."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conformance.stores import STORES, StoreUnderTest, documents, stored

from batchseal.errors import PayloadDamaged
from batchseal.payloads.encrypted import EncryptedPayloads
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.keys import KeyFile
from batchseal.payloads.raw import LocalRaw, ObjectRaw, RawPayloads, SharedRaw
from batchseal.payloads.s3 import FOLDER

RANDOM = random.Random(11)
CONTENTS = [RANDOM.randbytes(20_000), b"<a>text</a>" * 2_000, b"", RANDOM.randbytes(70_000)]

RAW: dict[str, Callable[[Any], RawPayloads]] = {
    "local": lambda store: LocalRaw(store.folder),
    "segmented": lambda store: LocalRaw(store.folder),
    "shared": lambda store: SharedRaw(store.volume),
    "s3 of others": lambda store: ObjectRaw(store.objects.objects, FOLDER),
    "segmented, encrypted": lambda store: LocalRaw(store.inner.folder),
}


def made(name: str, folder: Path) -> StoreUnderTest:
    folder.mkdir()
    return STORES[name](folder)


@pytest.mark.parametrize("name", RAW)
def test_a_payload_is_the_same_in_another_store(name: str, tmp_path: Path) -> None:
    first, second = made(name, tmp_path / "first"), made(name, tmp_path / "second")
    several = [stored(first, documents(*CONTENTS[: count + 1])) for count in range(len(CONTENTS))]
    reading, writing = RAW[name](first), RAW[name](second)
    for record in several:
        writing.write(record, iter(list(reading.read(record))))
    writing.settle()
    payloads = second.payloads
    if name.endswith("encrypted"):  # with the keys that it was encrypted with
        keys = KeyFile(tmp_path / "first" / "payload.keys")
        payloads = EncryptedPayloads(second.inner.payloads, keys)  # type: ignore[attr-defined]
    for count, record in enumerate(several):
        reader = payloads.open(record)
        assert [reader.read(FrameKind.DOCUMENT, n) for n in range(count + 1)] == CONTENTS[: count + 1]
        reader.close()


@pytest.mark.parametrize("name", [name for name in RAW if "encrypted" not in name])
def test_a_large_payload_is_read_in_blocks(name: str, tmp_path: Path) -> None:
    first, second = made(name, tmp_path / "first"), made(name, tmp_path / "second")
    content = RANDOM.randbytes(20 << 20)
    upload = first.payloads.create(uuid4(), len(content))
    upload.begin()
    upload.append(documents(content))
    record = upload.commit(durable=True)
    upload.release()
    blocks = list(RAW[name](first).read(record))
    assert len(blocks) > 1 and max(map(len, blocks)) <= 8 << 20
    RAW[name](second).write(record, iter(blocks))
    reader = second.payloads.open(record)
    assert reader.read(FrameKind.DOCUMENT, 0) == content
    reader.close()


@pytest.mark.parametrize("name", RAW)
def test_a_payload_that_was_purged_is_not_there(name: str, tmp_path: Path) -> None:
    store = made(name, tmp_path / "first")
    record, _ = stored(store, documents(b"one")), stored(store, documents(b"other"))
    store.payloads.delete([record])
    with pytest.raises(PayloadDamaged):
        list(RAW[name](store).read(record))


def test_a_payload_in_a_segment_stays_while_it_is_copied(tmp_path: Path) -> None:
    store = made("segmented", tmp_path / "first")
    record, _ = stored(store, documents(b"one")), stored(store, documents(b"other"))
    assert record.segment is not None
    raw = LocalRaw(store.folder)  # type: ignore[attr-defined]
    whole, reading = list(raw.read(record)), raw.read(record)
    assert next(reading) == whole[0]
    store.payloads.delete([record])
    assert list(raw.read(record)) == whole
    assert list(reading) == whole[1:]
    store.payloads.delete([record])
    with pytest.raises(PayloadDamaged):
        list(raw.read(record))


class Shortened:
    """Objects of which the store gives back less than it says that they have."""

    def size(self, key: str) -> int:
        return 20 << 20

    def read(self, key: str, start: int, stop: int) -> bytes:
        return bytes(stop - start - 1)


def test_an_object_that_ends_too_early_is_not_taken_for_the_payload() -> None:
    objects: Any = Shortened()
    with pytest.raises(PayloadDamaged):
        list(ObjectRaw(objects, FOLDER).read(PayloadRecord(uuid4())))


@pytest.fixture
def volume_of_another() -> Iterator[Path]:
    """A volume that belongs to the account of a service, as root finds it: nobody has stored anything in it."""
    if os.geteuid() != 0:
        pytest.skip("only root puts back what is somebody else's")
    volume = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(volume, 4711, 4712)
    yield volume
    shutil.rmtree(volume)


def test_what_root_puts_back_belongs_to_the_service(volume_of_another: Path) -> None:
    raw, record = SharedRaw(volume_of_another), PayloadRecord(id=uuid4())
    raw.write(record, iter([b"first", b"second"]))
    raw.settle()
    assert os.geteuid() == 0
    folder = volume_of_another / "payloads"
    (file,) = folder.iterdir()
    assert file.read_bytes() == b"firstsecond"
    for path, mode in ((folder, 0o40700), (file, 0o100600)):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode) == (4711, 4712, mode), path
