"""A prefix of a bucket as a sweep of orphans sees it."""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import structlog

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.objects import Objects
from batchseal.settings.payload_stores import ObjectAddress

ASIDE = "aside"
CLOCK = "clock"

log = structlog.get_logger("payloads")


def prefix_of(address: ObjectAddress, folder: str) -> str:
    """What the keys of the objects in a folder begin with, from the root of the bucket on."""
    return "/".join(filter(None, (address.prefix, folder))) + "/"


class ObjectPlace:
    """A `Place` (`orphans`). `folder` holds the payloads, and `written_here` gives those that this process writes."""

    def __init__(
        self, objects: Objects, requests: BucketRequests, folder: str, written_here: Callable[[], set[UUID]]
    ) -> None:
        self._objects = objects
        self._requests = requests
        self._folder = folder
        self.written_here = written_here

    def keep_to(self, database: UUID) -> None:
        self._objects.database = database

    def prepare(self) -> None:
        """A bucket has no folders."""

    def now(self) -> datetime:
        """From a list, since the headers of an object tell whole seconds alone."""
        self._objects.put(f"{CLOCK}/now", b"")
        return max(one.stored_at for some in self._objects.list(CLOCK) for one in some)

    def payloads(self) -> dict[UUID, datetime]:
        return self._listed(self._folder)

    def marks(self) -> dict[UUID, datetime]:
        return self._listed(ASIDE)

    def _listed(self, folder: str) -> dict[UUID, datetime]:
        found = dict[UUID, datetime]()
        for some in self._objects.list(folder):
            for one in some:
                with suppress(ValueError):  # it is not one of ours
                    found[UUID(one.key.rpartition("/")[2])] = one.stored_at
        return found

    def mark(self, ids: Collection[UUID]) -> None:
        for payload_id in ids:
            self._objects.put(f"{ASIDE}/{payload_id}", b"")

    def unmark(self, ids: Collection[UUID]) -> None:
        self._objects.delete([f"{ASIDE}/{payload_id}" for payload_id in ids])

    def remove(self, ids: Collection[UUID]) -> None:
        self._objects.delete([f"{self._folder}/{payload_id}" for payload_id in ids])
        self.unmark(ids)

    def remove_unfinished(self, before: datetime) -> list[UUID]:
        """Aborts multipart uploads, as far as the store tells of them. Else that is left to the rule of the bucket."""
        if not self._requests.can_ask:
            return []
        prefix, written = prefix_of(self._objects.address, self._folder), self.written_here()
        aborted = list[UUID]()
        try:
            for upload in self._requests.open_uploads(prefix):
                with suppress(ValueError):
                    payload_id = UUID(upload.key.removeprefix(prefix))
                    if upload.began <= before and payload_id not in written:
                        self._requests.abort(upload)
                        aborted.append(payload_id)
        except PayloadUnavailable as problem:
            log.debug("the store does not tell which uploads are open", cause=problem.cause)
        return aborted

    def read(self, name: str) -> bytes | None:
        try:
            return self._objects.get(name)[0]
        except PayloadDamaged:
            return None

    def write(self, name: str, content: bytes) -> None:
        self._objects.put(name, content)
