"""A prefix of a bucket, over a store that is in memory: what is read of objects that others replace."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchseal.entries.buckets.place import MOST_LOOKED_AT, BucketPlace
from batchseal.entries.buckets.prefix import AtOnce, ObjectSource, Prefix
from batchseal.entries.files import Seen
from batchseal.entries.looks import Looks
from batchseal.payloads.objects import Stored
from batchseal.settings.payload_stores import ObjectAddress


@dataclass
class OneObject:
    """Stands in for the client of a store that has one object, and counts the blocks of it that are read."""

    content: bytes
    address: ObjectAddress = field(default_factory=lambda: ObjectAddress(bucket="exchange", prefix="in"))
    blocks_read: int = 0

    def stream(self, key: str, block_bytes: int) -> tuple[Stored, Iterator[bytes]]:
        return Stored(key, len(self.content), datetime.now(UTC), "etag"), self._blocks(block_bytes)

    def _blocks(self, block_bytes: int) -> Iterator[bytes]:
        for start in range(0, len(self.content), block_bytes):
            self.blocks_read += 1
            yield self.content[start : start + block_bytes]


def test_an_object_that_has_become_another_one_is_not_read() -> None:
    store, at_once = OneObject(b"small"), AtOnce()
    prefix = Prefix(store, at_once)  # type: ignore[arg-type]
    assert prefix.get("a", 5)[0] == prefix.get("a")[0] == b"small"
    source = ObjectSource(prefix, Seen("a", 5, 1, 1, 1))
    store.content, store.blocks_read = bytes(5 << 20), 0
    with pytest.raises(FileNotFoundError, match="replaced"):
        prefix.get("a", 5)
    with pytest.raises(FileNotFoundError, match="replaced"):
        source.read_at(1024, 0)
    assert not store.blocks_read
    at_once.close()


def test_empty_objects_take_no_place_of_others(tmp_path: Path) -> None:
    class Full(OneObject):
        def list(self, folder: str) -> Iterator[list[Stored]]:
            yield [Stored(f"{number:04}", 0, datetime.now(UTC), "empty") for number in range(MOST_LOOKED_AT + 1)]
            yield [Stored("last.bin", len(self.content), datetime.now(UTC), "etag")]

    store = Full(b"content")
    place = BucketPlace(store, store, store, drafts=tmp_path, threshold=1)  # type: ignore[arg-type]
    assert [one.file.path for one in place.ready(Looks("rename", (), 600))] == ["last.bin"]
    place.close()


def test_a_path_leaves_room_for_the_prefix() -> None:
    at_once = AtOnce()
    prefix = Prefix(OneObject(b""), at_once)  # type: ignore[arg-type]
    assert prefix.most_path_bytes + len(b"in/") == 1024
    at_once.close()
