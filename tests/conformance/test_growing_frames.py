"""What a payload store promises that takes a document in parts (`Payloads.takes_parts`)."""

import random
from pathlib import Path

import pytest
from tests.conformance.stores import STORES, StoreUnderTest, begun, documents

from batchseal.payloads.frames import FrameKind

RANDOM = random.Random(8)
DOCUMENT, PREPARED = FrameKind.DOCUMENT, FrameKind.PREPARED


# The others would hold all of a document, or lend what may go away while it is read.
TAKE_PARTS = ("local", "segmented", "s3", "s3 of others", "poor s3 of others")


@pytest.fixture(params=TAKE_PARTS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_frame_that_grows(store: StoreUnderTest, is_kept: bool) -> None:
    """It stands between its neighbours, is read from the file before the commit, and leaves nothing if it is dropped."""
    parts = [RANDOM.randbytes(size) for size in (5_000_000, 1_000_001, 0, 3)]
    upload = begun(store)
    upload.append(documents(b"before"))
    stored_bytes = upload.stored_bytes
    growing = upload.grow(DOCUMENT, 1)
    for part in parts:
        growing.write(part)
    assert upload.stored_bytes >= stored_bytes + sum(map(len, parts))
    assert bytes(growing.content()) == b"".join(parts)
    if is_kept:
        growing.keep()
    else:
        growing.drop()
        assert upload.stored_bytes == stored_bytes
    upload.append([(PREPARED, 1, b"prepared"), (DOCUMENT, 2, RANDOM.randbytes(9 << 20))])
    reader = store.payloads.open(upload.commit(durable=True))
    assert reader.ordinals(DOCUMENT) == ({0, 1, 2} if is_kept else {0, 2})
    assert reader.read(PREPARED, 1) == b"prepared"
    if is_kept:
        assert reader.read(DOCUMENT, 1) == b"".join(parts)
    reader.close()
    upload.release()


@pytest.mark.parametrize("name", STORES)
def test_a_store_says_whether_it_takes_parts(name: str, tmp_path: Path) -> None:
    assert STORES[name](tmp_path).payloads.takes_parts == (name in TAKE_PARTS)
