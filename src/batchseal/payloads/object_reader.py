"""Reads a payload that is an object, in windows ahead: its documents lie in order, so one request brings many of them."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from uuid import UUID

from batchseal.errors import PayloadDamaged
from batchseal.payloads.blocks import BlockChecksums
from batchseal.payloads.frame_index import read_index
from batchseal.payloads.frame_reader import FrameReader
from batchseal.payloads.frames import HEADER_BYTES, FrameHeader, FrameKind
from batchseal.payloads.objects import PART_BYTES, Objects

WINDOW_BYTES = PART_BYTES
# A document stands in one of them, and what was prepared of it up to a batch further on, perhaps in the other.
WINDOWS = 2
# Small frames of one kind are read together, those that stand closer than this by one request.
TOGETHER_BYTES, GAP_BYTES = 4 << 20, 64 << 10
READER_BYTES = WINDOWS * WINDOW_BYTES + TOGETHER_BYTES


class ObjectReader(FrameReader):
    """A `PayloadReader`; one thread at a time. It holds READER_BYTES at most, beside what it gives back.

    `index_offset` and `index_bytes` say where the index stands. Without an index that is right, all headers are looked for.
    """

    def __init__(self, objects: Objects, key: str, payload_id: UUID, index_offset: int, index_bytes: int) -> None:
        """Raises PayloadDamaged where there is no such object, PayloadUnavailable."""
        super().__init__(payload_id)
        self._objects = objects
        self._key = key
        self._windows: OrderedDict[int, bytes] = OrderedDict()
        self._small: dict[int, bytes] = {}  # stored bytes of small frames that were read together, by offset
        size = index_offset + index_bytes
        # A payload that fits into a window comes with its index, by one request.
        first = 0 if size <= WINDOW_BYTES else index_offset
        tail = self._read(first, max(size, first + 1))
        found = read_index(tail[index_offset - first :], payload_id, index_offset)
        if found is None and index_bytes:  # perhaps it was damaged on its way here
            found = read_index(self._read(index_offset, size), payload_id, index_offset)
        if found is None:
            self._find_frames(self._size())
            return
        if first == 0:
            self._windows[0] = tail
        for offset, header in found:
            self._frames.add(offset + HEADER_BYTES, header)

    def close(self) -> None:
        self._windows.clear()
        self._small.clear()

    def ordinals(self, kind: FrameKind) -> set[int]:
        if kind is not FrameKind.DOCUMENT:
            self._read_together(kind)
        return super().ordinals(kind)

    def _size(self) -> int:
        size = self._objects.size(self._key)
        if size is None:
            raise self._gone()
        return size

    def _gone(self) -> PayloadDamaged:
        """An object that is not there. Where the marker of the prefix is not there either, that says nothing about the object."""
        self._objects.need_marker()
        return PayloadDamaged("the stored payload cannot be opened: there is no such object")

    def _read(self, start: int, stop: int) -> bytes:
        try:
            return self._objects.read(self._key, start, stop)
        except PayloadDamaged:
            raise self._gone() from None

    def _pread(self, count: int, offset: int) -> bytes:
        """From a window; the next one begins at the offset."""
        if (found := self._small.get(offset)) is not None and len(found) == count:
            return found
        for start, window in self._windows.items():
            if start <= offset and offset + count <= start + len(window):
                self._windows.move_to_end(start)
                return window[offset - start : offset - start + count]
        if count > WINDOW_BYTES:
            return self._read(offset, offset + count)
        while len(self._windows) >= WINDOWS:
            self._windows.popitem(last=False)
        window = self._windows[offset] = self._read(offset, offset + WINDOW_BYTES)
        return window[:count]

    def _stored(self, offset: int, header: FrameHeader) -> bytes | None:
        """What does not match its checksum is read once more from the store: it may have been damaged on its way here."""
        stored = super()._stored(offset, header)
        if stored is not None:
            return stored
        self._small.pop(offset, None)
        self._windows.clear()
        return super()._stored(offset, header)

    def _checksums(self, offset: int, header: FrameHeader) -> BlockChecksums | None:
        """The same for a frame that is read in blocks."""
        found = super()._checksums(offset, header)
        if found is None:
            self._windows.clear()
            found = super()._checksums(offset, header)
        return found

    def _read_together(self, kind: FrameKind) -> None:
        """Reads all frames of a kind by few requests, where they are small: they stand between documents."""
        places = sorted((offset, header.stored_bytes) for offset, header in self._frames.of_kind(kind))
        runs = list(_runs([place for place in places if place[1] and place[0] not in self._small]))
        ranges = [(run[0][0], run[-1][0] + run[-1][1]) for run in runs]
        if not ranges or sum(stop - start for start, stop in ranges) > TOGETHER_BYTES:
            return
        try:
            found = self._objects.read_ranges(self._key, ranges)
        except PayloadDamaged:
            raise self._gone() from None
        for run, (start, _), part in zip(runs, ranges, found, strict=True):
            self._small |= {offset: part[offset - start : offset - start + size] for offset, size in run}


def _runs(places: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Places (offset, length), in order, in groups that stand close together."""
    run = places[:1]
    for (offset, size), (following, length) in pairwise(places):
        if following - (offset + size) > GAP_BYTES:
            yield run
            run = []
        run.append((following, length))
    if run:
        yield run
