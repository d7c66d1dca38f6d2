"""The payloads of one operation, read as one, and the records of release 0.1 among them."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from batchseal.document import Evidence, Prepared
from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads import records
from batchseal.payloads.frames import HEADER_BYTES, FrameKind
from batchseal.payloads.interface import CheckedFrame, Frame, PayloadReader, PayloadRecord
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.operation import OperationReader
from batchseal.signature import Level


def written(payloads: LocalPayloads, *frames: Frame) -> PayloadRecord:
    upload = payloads.create(uuid4())
    upload.begin()
    upload.append(frames)
    record = upload.commit(durable=False)
    upload.release()
    return record


def open_payloads(folder: Path) -> set[Path]:
    """The files in this folder that the process has open."""
    paths = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return {path for path in paths if path.parent == folder}


def test_payloads_that_cannot_all_be_opened_are_all_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = LocalPayloads(tmp_path)
    first, further = (written(payloads, (FrameKind.PREPARED, 0, b"x")) for _ in range(2))
    opened, open_one = list[UUID](), payloads.open

    def open_newest_only(record: PayloadRecord) -> PayloadReader:
        opened.append(record.id)
        if record.id == first.id:
            raise PayloadUnavailable("no descriptor is left")
        return open_one(record)

    monkeypatch.setattr(payloads, "open", open_newest_only)
    with pytest.raises(PayloadUnavailable):
        OperationReader(payloads, [first, further]).open()
    assert opened == [further.id, first.id]
    assert not open_payloads(tmp_path)


def test_a_damaged_newer_frame_hides_the_older_one(tmp_path: Path) -> None:
    """The older one is no substitute: the document may have been signed as the newer one says. `ordinals` and `read` agree."""
    payloads = LocalPayloads(tmp_path)
    first = written(payloads, *((FrameKind.PREPARED, n, b"older") for n in range(3)))
    further = written(payloads, (FrameKind.PREPARED, 1, b"newer"), (FrameKind.PREPARED, 2, b"newer"))
    with payloads.path(further.id).open("r+b") as file:
        file.seek(HEADER_BYTES)
        file.write(b"X")
    reader = OperationReader(payloads, [first, further])
    try:
        assert reader.ordinals(FrameKind.PREPARED) == {0, 2}
        assert [reader.read(FrameKind.PREPARED, n) for n in (0, 2)] == [b"older", b"newer"]
        with pytest.raises(PayloadDamaged):
            reader.read(FrameKind.PREPARED, 1)
    finally:
        reader.close()


def test_a_payload_that_is_lost_hides_those_before_it_and_nothing_else(tmp_path: Path) -> None:
    """It may have held what replaced their frames. What was stored after it counts all the same."""
    payloads = LocalPayloads(tmp_path)
    oldest = written(payloads, *((FrameKind.DOCUMENT, n, b"oldest") for n in range(2)))
    lost, newest = (written(payloads, (FrameKind.DOCUMENT, 0, content)) for content in (b"lost", b"newest"))
    payloads.delete([lost])
    with closing(OperationReader(payloads, [oldest, lost, newest])) as reader:
        assert reader.read(FrameKind.DOCUMENT, 0) == b"newest"
        assert reader.ordinals(FrameKind.DOCUMENT) == {0}
        with pytest.raises(PayloadDamaged):
            reader.read(FrameKind.DOCUMENT, 1)
    with pytest.raises(PayloadDamaged):
        OperationReader(payloads, [oldest, lost]).open()
    assert not open_payloads(tmp_path)


def test_a_document_that_is_stored_again_replaces_what_was_prepared_of_it(tmp_path: Path) -> None:
    payloads, kinds = LocalPayloads(tmp_path), (FrameKind.DOCUMENT, FrameKind.PREPARED)
    before = written(payloads, *((kind, n, b"before") for kind in kinds for n in range(2)))
    again = written(payloads, (FrameKind.DOCUMENT, 0, b"again"))
    with closing(OperationReader(payloads, [before, again])) as reader:
        assert (reader.ordinals(FrameKind.DOCUMENT), reader.ordinals(FrameKind.PREPARED)) == ({0, 1}, {1})
        assert not reader.has(FrameKind.PREPARED, 0)


class Counting:
    """A `PayloadReader` over frames in memory that counts how often each was read. One that is None is damaged."""

    def __init__(self, frames: Mapping[tuple[FrameKind, int], bytes | None]) -> None:
        self.frames = frames
        self.reads = Counter[tuple[FrameKind, int]]()

    def ordinals(self, kind: FrameKind) -> set[int]:
        self.reads.update(place for place in self.frames if place[0] is kind)
        return {n for (of, n), content in self.frames.items() if of is kind and content is not None}

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        return (kind, ordinal) in self.frames

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        self.reads[kind, ordinal] += 1
        content = self.frames[kind, ordinal]
        if content is None:
            raise PayloadDamaged("not what was written")
        return content

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        raise AssertionError("nobody asks for it here")

    def close(self) -> None: ...


OLD = msgspec.msgpack.encode({"ordinal": 0, "head": b"h", "tail": b"t", "reserved_bytes": 9, "fingerprint": b"f"})
NEW = bytes(records.prepared_frame(Prepared(0, "pades", b"d", b"d", b"f", Level.B, 1, b"p"))[2])


def test_the_old_signature_of_one_document_is_read_alone() -> None:
    """Delivery asks for each document. To look at all of them each time takes minutes for an operation of 10,000."""
    frames = {
        (kind, n): OLD for n in range(50) for kind in (FrameKind.SIGNATURE, FrameKind.TIMESTAMP, FrameKind.PREPARED)
    }
    reader = Counting(frames)
    for ordinal in range(50):
        assert records.read_old_evidence(reader, [ordinal]) == {ordinal: Evidence(OLD, (OLD,))}
    assert set(reader.reads.values()) == {1}


def test_old_signatures_that_do_not_count() -> None:
    """A signature that is damaged, and one of a document that was prepared anew since."""
    reader = Counting(
        {
            (FrameKind.PREPARED, 0): OLD,
            (FrameKind.SIGNATURE, 0): None,
            (FrameKind.PREPARED, 1): NEW,
            (FrameKind.SIGNATURE, 1): b"of the document as it was before",
            (FrameKind.PREPARED, 2): OLD,
            (FrameKind.SIGNATURE, 2): b"value",
            (FrameKind.TIMESTAMP, 2): None,
        }
    )
    assert records.read_old_evidence(reader, range(4)) == {2: Evidence(b"value")}
