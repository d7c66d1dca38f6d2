"""Which objects belong to which batch: what the list of a batch says.

A list is written under the lease of the input, and the lease is asked once more before an operation gets the objects. Whoever
takes the lease over reads all lists first. So a list that comes later, from one who has lost the lease, has no operation. It is
worked on all the same, but gives up what another list names too. All methods block, but for those of `Claims`.
"""

import json
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from batchseal.entries.buckets.prefix import AtOnce, ObjectSource, Prefix
from batchseal.entries.claims import GIVEN_BACK, LIST, NOTES, PRIVATE, REFERENCE, Claimed
from batchseal.entries.files import Seen
from batchseal.entries.looks import Ready
from batchseal.errors import FileChanged
from batchseal.operation import ContentType
from batchseal.system.crash_sites import crash_site

BATCHES = f"{PRIVATE}/batches"


class Claims:
    """What this process knows of the batches of one input. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._etags: dict[UUID, dict[str, str]] = {}  # by batch and path
        self._pending: dict[UUID, dict[str, Ready]] = {}  # batches whose list is not written yet

    def begin(self, batch: UUID, ready: Sequence[Ready], etags: Mapping[str, str]) -> None:
        with self._lock:
            self._pending[batch] = {one.file.path: one for one in ready}
            self._etags[batch] = dict(etags)

    def pending(self, batch: UUID) -> Mapping[str, Ready]:
        with self._lock:
            return self._pending.get(batch, {})

    def listed(self, batch: UUID, etags: Mapping[str, str]) -> Mapping[str, Ready]:
        """The list of the batch is written, or was read. Returns what was pending."""
        with self._lock:
            self._etags[batch] = dict(etags)
            return self._pending.pop(batch, {})

    def etags(self, batch: UUID) -> Mapping[str, str]:
        """By the paths of the batch."""
        with self._lock:
            return dict(self._etags.get(batch, {}))

    def known_lists(self) -> set[UUID]:
        with self._lock:
            return self._etags.keys() - self._pending.keys()

    def taken(self) -> set[tuple[str, str]]:
        """The paths and ETags of all that is claimed."""
        with self._lock:
            return {one for etags in self._etags.values() for one in etags.items()}

    def give_up_doubles(self, batch: UUID) -> list[str]:
        """The paths that another batch has with the same ETag. From now on they are not of this one."""
        with self._lock:
            others = {one for other, etags in self._etags.items() if other != batch for one in etags.items()}
            mine = self._etags.get(batch, {})
            doubles = [path for path, etag in mine.items() if (path, etag) in others]
            for path in doubles:
                del mine[path]
            return doubles

    def drop(self, batch: UUID, paths: Collection[str]) -> None:
        with self._lock:
            for path in paths:
                self._etags.get(batch, {}).pop(path, None)

    def forget(self, batch: UUID) -> None:
        with self._lock:
            self._etags.pop(batch, None)
            self._pending.pop(batch, None)

    def release(self, batch: UUID) -> None:
        """What was claimed and never listed can be claimed again."""
        with self._lock:
            if self._pending.pop(batch, None) is not None:
                self._etags.pop(batch, None)


class BucketBatch:
    """The `BatchFiles` of a bucket."""

    def __init__(self, input: Prefix, claims: Claims, id: UUID, at_once: AtOnce) -> None:
        self.input = input
        self.id = id
        self.place = f"{BATCHES}/{id}"
        self.has_list = False
        self._claims = claims
        self._at_once = at_once

    @property
    def reference(self) -> str:
        return f"{REFERENCE}{self.id}"

    def close(self) -> None:
        """Nothing stays open."""

    # --- the list -----------------------------------------------------------------------------------------------------

    def read_list(self) -> list[Claimed] | None:
        try:
            content, _ = self.input.get(f"{self.place}/{LIST}")
        except FileNotFoundError:
            return None
        self.has_list = True
        table = json.loads(content)
        self._claims.listed(self.id, etags_of(table))
        return [
            Claimed(path, size, modified_ns, ContentType(type_), refusal)
            for path, size, modified_ns, type_, refusal, _ in table
        ]

    def write_list(self, claimed: Sequence[Claimed]) -> None:
        known = self._claims.etags(self.id)
        table = [
            (one.path, one.size, one.modified_ns, one.type, one.refusal, known.get(one.path, "")) for one in claimed
        ]
        self.input.put(f"{self.place}/{LIST}", json.dumps(table).encode("ascii"))
        self.has_list = True
        pending = self._claims.listed(self.id, etags_of(table))
        crash_site("files-listed")
        self._remove_announcements([one.announcement for one in pending.values() if one.announcement is not None])

    def _remove_announcements(self, announcements: Sequence[Seen]) -> None:
        """One that was stored anew is for the next object of this name, and stays."""
        found = self._at_once.map(lambda one: self.input.look_at(one.path), announcements)
        pairs = zip(found, announcements, strict=True)
        # Only a list has fractions of a second.
        self.input.delete(
            [now.key for now, one in pairs if now and now.stored_at.timestamp() < one.change_ns / 1e9 + 1]
        )

    # --- the files ----------------------------------------------------------------------------------------------------

    def etags(self) -> Mapping[str, str]:
        """The ETags of the claimed objects, by their paths."""
        return self._claims.etags(self.id)

    def claimed_files(self) -> list[Seen]:
        return sorted((one.file for one in self._claims.pending(self.id).values()), key=lambda file: file.path)

    def known_type(self, path: str) -> ContentType | None:
        """An object with the same ETag is the same, so what the look has seen counts."""
        found = self._claims.pending(self.id).get(path)
        return None if found is None else found.type

    @contextmanager
    def opened_source(self, file: Seen) -> Iterator[ObjectSource]:
        yield ObjectSource(self.input, file)

    def read(self, group: Sequence[Claimed]) -> list[bytes]:
        etags = self.etags()

        def read_one(one: Claimed) -> bytes:
            try:
                with self._at_once.room_for(one.size):
                    content, found = self.input.get(one.path, one.size)
            except FileNotFoundError:
                raise FileChanged(one.path) from None
            if found.etag != etags.get(one.path) or len(content) != one.size:
                raise FileChanged(one.path)
            return content

        return self._at_once.map(read_one, group)

    def parts(self, one: Claimed) -> Generator[bytes, None, None]:
        """Raises FileChanged. An answer is about one version of an object, so it is as long as it says."""
        try:
            found, blocks = self.input.stream(one.path, one.size)
            if found.etag != self.etags().get(one.path):
                raise FileChanged(one.path)
            yield from blocks
        except FileNotFoundError:
            raise FileChanged(one.path) from None

    def doubles(self) -> list[str]:
        return self._claims.give_up_doubles(self.id)

    def give_back(self, paths: Sequence[str]) -> None:
        """The objects are where they were."""
        self._claims.drop(self.id, paths)

    def holds(self, path: str) -> bool:
        return path in self.etags()

    def left(self, claimed: Sequence[Claimed]) -> list[int]:
        """All: what has ended is known from the notes, since anybody may delete an object from the input."""
        return list(range(len(claimed)))

    # --- the end ------------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        notes = [one.key for page in self.input.pages(f"{self.place}/{NOTES}") for one in page]
        self.input.delete(notes)
        self.input.delete([f"{self.place}/{LIST}"])
        self._claims.forget(self.id)


def etags_of(table: Iterable[Sequence[Any]]) -> dict[str, str]:
    """The ETags of the objects that a list claims, by their paths."""
    return {path: etag for path, _, _, _, refusal, etag in table if refusal != GIVEN_BACK}
