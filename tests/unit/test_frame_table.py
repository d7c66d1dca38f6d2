"""The table of the frames of an open payload."""

import tracemalloc

import pytest

from batchseal.payloads.frame_table import FrameTable
from batchseal.payloads.frames import ZSTD, FrameHeader, FrameKind

LARGEST = FrameHeader(FrameKind.SHARED, 255, (1 << 32) - 1, (1 << 64) - 1, (1 << 64) - 2, (1 << 64) - 3)
DOCUMENT = FrameHeader(FrameKind.DOCUMENT, ZSTD, 7, 200_000, 150_000, 3)


def test_frames_come_back_as_they_were_added() -> None:
    table = FrameTable()
    table.add(40, DOCUMENT)
    table.add((1 << 40), LARGEST)
    assert table.find(FrameKind.DOCUMENT, 7) == (40, DOCUMENT)
    assert table.find(FrameKind.SHARED, LARGEST.ordinal) == (1 << 40, LARGEST)
    assert table.has(FrameKind.DOCUMENT, 7)
    assert not table.has(FrameKind.PREPARED, 7)
    with pytest.raises(KeyError):
        table.find(FrameKind.DOCUMENT, LARGEST.ordinal)


def test_a_later_frame_replaces_an_earlier_one() -> None:
    table = FrameTable()
    later = FrameHeader(FrameKind.DOCUMENT, 0, 7, 5, 5, 9)
    for offset, header in ((40, DOCUMENT), (200_000, LARGEST), (300_000, later)):
        table.add(offset, header)
    assert list(table.of_kind(FrameKind.DOCUMENT)) == [(300_000, later)]
    assert list(table.of_kind(FrameKind.SHARED)) == [(200_000, LARGEST)]
    assert list(table.of_kind(FrameKind.PREPARED)) == []


def test_the_frames_of_a_large_operation_take_little_memory() -> None:
    tracemalloc.start()
    try:
        table = FrameTable()
        for ordinal in range(2_500):
            for kind in (FrameKind.DOCUMENT, FrameKind.PREPARED):
                header = FrameHeader(kind, 0, ordinal, 200_000 + ordinal, 200_000 + ordinal, (1 << 63) + ordinal)
                table.add(1_000 + ordinal * 201_000, header)
        del header
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{held_bytes / 5_000:.0f} bytes for each frame")
    assert held_bytes < 5_000 * 200
