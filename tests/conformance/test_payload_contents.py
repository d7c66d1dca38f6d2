"""What every payload store promises for contents that are no plain bytes: made piece by piece, encrypted, of a later release."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.conformance.stores import STORES, StoreUnderTest, begun, documents, stored

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import Encryption, Frame
from batchseal.payloads.pieces import Pieces

RANDOM = random.Random(8)
DOCUMENT = FrameKind.DOCUMENT


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


def test_what_is_made_piece_by_piece_is_stored_like_any_other_content(store: StoreUnderTest) -> None:
    large, small = InThirds(RANDOM.randbytes(3_000_000)), InThirds(b"small" * 100)
    upload = begun(store)
    sizes = upload.append([(DOCUMENT, 0, b"before"), (DOCUMENT, 1, large), (DOCUMENT, 2, small), (DOCUMENT, 3, b"x")])
    assert len(sizes) == 4 and sizes[1] >= 3_000_000
    record = upload.commit(durable=True)
    upload.release()
    reader = store.payloads.open(record)
    assert [reader.read(DOCUMENT, n) for n in range(4)] == [b"before", large.content, small.content, b"x"]
    assert reader.stored_bytes(DOCUMENT, 1) == sizes[1]
    with pytest.raises(PayloadDamaged, match="4"):
        reader.stored_bytes(DOCUMENT, 4)
    reader.close()


class InThirds(Pieces):
    def __init__(self, content: bytes) -> None:
        self.content, self.total_bytes = content, len(content)

    def __iter__(self) -> Iterator[bytes]:
        third = -(-self.total_bytes // 3)
        return (self.content[at : at + third] for at in range(0, self.total_bytes, third))


def test_what_is_encrypted_is_nothing_that_a_store_reads_without_its_key(store: StoreUnderTest) -> None:
    record = stored(store, documents(b"content"))
    encrypted = msgspec.structs.replace(record, encryption=Encryption("another", bytes(16), bytes(16)))
    with pytest.raises(PayloadUnavailable, match="another"):
        store.payloads.open(encrypted)


def test_frames_of_a_later_release_are_passed_over(store: StoreUnderTest) -> None:
    later: Frame = (200, 1, b"nobody here knows this kind")  # type: ignore[assignment]
    reader = store.payloads.open(stored(store, [(DOCUMENT, 0, b"before"), later, (DOCUMENT, 1, b"behind")]))
    assert [reader.read(DOCUMENT, n) for n in range(2)] == [b"before", b"behind"]
    assert all(reader.ordinals(kind) == set() for kind in FrameKind if kind not in (DOCUMENT, FrameKind.UNKNOWN))
    reader.close()
