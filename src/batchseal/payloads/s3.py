"""Payloads in an object store (S3), which several instances share.

    PREFIX/payloads/ID   the frames of a payload, and behind them its index
    PREFIX/aside/ID      a payload that no row names, since this was written (`orphans`)
    PREFIX/database.json whose payloads these are
    PREFIX/sweep.json    what the last sweep found of the database

The instance that takes a payload in keeps a local copy, and reads that one. Nothing depends on conditional requests, which some
stores ignore: each key holds a UUID that is made anew.
"""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from uuid import UUID

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.copies import LocalCopies
from batchseal.payloads.frame_index import index_frame, read_headers
from batchseal.payloads.frame_reader import FrameReader
from batchseal.payloads.interface import Live, PayloadRecord, require_plain
from batchseal.payloads.object_place import ObjectPlace, prefix_of
from batchseal.payloads.object_reader import READER_BYTES, ObjectReader
from batchseal.payloads.object_upload import UPLOAD_BYTES, ObjectUpload, PartSender, open_to_read, whole
from batchseal.payloads.objects import PART_BYTES, Objects
from batchseal.payloads.writing import BeingWritten

FOLDER = "payloads"


class ObjectPayloads:
    """A `Payloads` store. `copies` is where this instance keeps what it has written itself."""

    name = "s3"
    is_local = False
    takes_parts = True
    delete_makes_room = False  # uploads need space on this machine, where copies lie that `make_room` removes
    upload_bytes = UPLOAD_BYTES

    def __init__(self, objects: Objects, requests: BucketRequests, copies_folder: Path) -> None:
        self.objects = objects
        self.requests = requests
        self.prefix = prefix_of(objects.address, FOLDER)
        self.copies = LocalCopies(copies_folder)
        self._written = BeingWritten()
        self.place = ObjectPlace(objects, requests, FOLDER, self._written.ids)

    def key(self, payload_id: UUID) -> str:
        return f"{FOLDER}/{payload_id}"

    @property
    def is_away(self) -> bool:
        return self.objects.watch.is_away

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> ObjectUpload:
        return ObjectUpload(self.objects, self.copies, payload_id, self.key(payload_id), self._written)

    def open(self, record: PayloadRecord) -> FrameReader:
        require_plain(record)
        in_store = partial(
            ObjectReader, self.objects, self.key(record.id), record.id, record.index_offset, record.index_bytes
        )
        return self.copies.open(record, in_store) or in_store()

    def reader_bytes(self, record: PayloadRecord) -> int:
        return 0 if self.copies.has(record.id) else READER_BYTES

    def make_durable(self, record: PayloadRecord) -> None:
        """Puts the payload of a small synchronous operation into the store, from its local file."""
        if self.copies.has(record.id):
            return
        self.objects.need_marker_lately()
        key, path = self.key(record.id), self.copies.unsettled(record.id)
        if self.objects.size(key) == record.index_offset + record.index_bytes or path is None:
            self.copies.settle(record.id)
            return
        try:
            descriptor = open_to_read(path)
        except PayloadUnavailable:
            # The worker and the signer may both do this. The file has its other name once one of them is done.
            if self.copies.has(record.id):
                return
            raise
        try:
            tail = index_frame(read_headers(descriptor, record.id, record.index_offset), record.id, record.index_offset)
        except BaseException:
            os.close(descriptor)
            raise
        if record.index_offset < PART_BYTES:
            self.objects.put(key, whole(descriptor, record.index_offset) + tail)
        else:
            sender = PartSender(self.objects, key, descriptor)
            sender.available(record.index_offset)
            sender.end(tail)
            sender.wait()
        self.copies.settle(record.id)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        """Returns the bytes that are free on this machine."""
        given = list(records)
        freed = self.copies.delete(given)
        self.objects.delete([self.key(record.id) for record in given])
        return freed

    def make_room(self, needed_bytes: int) -> int:
        return self.copies.make_room(needed_bytes)

    def stored_bytes(self) -> int:
        """On this machine: a store has no size that it would tell."""
        return self.copies.stored_bytes()

    def free_bytes(self) -> int:
        """On this machine. Raises PayloadUnavailable while the store is away: no body is to be read for nothing."""
        self.objects.watch.need()
        return self.copies.free_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        """Local files alone. What lies in the store is swept for all instances by one of them (`orphans`)."""
        return await self.copies.sweep(live)
