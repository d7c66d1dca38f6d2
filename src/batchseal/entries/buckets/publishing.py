"""Puts objects into the output and the backup: written to a local file, named by a note, stored, compared, and noted as there.

    1 draft    A file without a name on this machine, with the digests of its content.
    2 name     The first name that nothing has. A note has it with the digests, and is durable.
    3 store    One upload, which a store shows whole or not at all, and what the store has is compared with what was sent.
    4 there    A second note. From then on nobody asks whether the object is still there: whoever reads the output may move it.

After a crash between 2 and 4 the object is looked for. If it is not there, or it is another one, the name is void.
All methods block.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog

from batchseal.entries import naming
from batchseal.entries.buckets.claims import BucketBatch
from batchseal.entries.buckets.notes import Named, ObjectNotes
from batchseal.entries.buckets.prefix import AtOnce, Kept, Prefix
from batchseal.entries.buckets.published import PublishedObjects
from batchseal.entries.buckets.reserved import Name, Reserved
from batchseal.entries.files import split
from batchseal.entries.interface import Key
from batchseal.entries.published import Published, Result
from batchseal.errors import LeaseLost
from batchseal.system.crash_sites import crash_site

ORIGINAL = "original"

log = structlog.get_logger("hot folder")


class BucketPublisher:
    """Publishes what comes of one batch. Every method may raise OSError, and LeaseLost.

    `mark` tells apart what has the same name, and `reserved` is shared by all batches of the hot folder. `drafts` is a folder.
    """

    def __init__(
        self,
        batch: BucketBatch,
        output: Prefix,
        backup: Prefix,
        mark: str,
        *,
        is_ours: Callable[[], bool],
        published: Published,
        kept: PublishedObjects,
        reserved: Reserved,
        at_once: AtOnce,
        drafts: Path,
    ) -> None:
        self._batch = batch
        self._places = {"output": output, "backup": backup}
        self._mark = mark
        self._is_ours = is_ours
        self._published = published
        self._kept = kept
        self._reserved = reserved
        self._at_once = at_once
        self._drafts = drafts
        self._notes = ObjectNotes(batch)
        self._written: dict[Key, tuple[str, str, Kept]] = {}  # where, the path that is wanted, and the draft
        published.add(results_of(self._notes.named.values()))

    def tidy(self) -> None:
        """Looks for what a start before this one has named, and may have stored."""
        open_ = [one for one in self._notes.named.values() if one.key not in self._notes.there]
        if not open_:
            return
        self._require_lease()
        found = self._at_once.map(self._is_there, open_)
        there = [one.key for one, is_there in zip(open_, found, strict=True) if is_there]
        void = [one.key for one, is_there in zip(open_, found, strict=True) if not is_there]
        self._notes.settle(there, void)

    def _is_there(self, one: Named) -> bool:
        return self._places[one.where].holds(one.path, one.size, one.sha256, one.md5)

    def noted(self) -> list[Key]:
        return list(self._notes.named)

    @contextmanager
    def draft(self, ordinal: int, kind: str, where: str, path: str) -> Iterator[Kept]:
        self._require_lease()
        kept = Kept(self._drafts)
        try:
            yield kept
        except BaseException:
            kept.close()
            raise
        self._written[ordinal, kind] = where, path, kept
        if kind != ORIGINAL:
            self._published.add([(kept.size, bytes.fromhex(kept.sha256[:32]))])

    def settle(self, noted: Sequence[Key] = ()) -> None:
        """Publishes what was written. What is `noted` is there: `tidy` has seen to that."""
        if not self._written:
            return
        self._require_lease()
        crash_site("files-drafted")
        reserved = list[Name]()
        try:
            named = self._at_once.map(partial(self._named, reserved), list(self._written.items()))
            self._notes.name(named)
            crash_site("files-noted")
            self._require_lease()
            self._at_once.map(self._store, named)
            crash_site("files-named")
            self._notes.settle([one.key for one in named])
        finally:
            self._reserved.release(reserved)  # also those of a try of which a part has failed
        self.close()

    def _named(self, reserved: list[Name], written: tuple[Key, tuple[str, str, Kept]]) -> Named:
        """The first name that nothing has, which is put into `reserved`. Several threads do that."""
        (ordinal, kind), (where, path, kept) = written
        folder, name = naming.within(*split(path), self._places[where].most_path_bytes)
        for candidate in naming.candidates(name, self._mark):
            free = f"{folder}/{candidate}" if folder else candidate
            if self._reserved.reserve((where, free)):
                try:
                    if self._places[where].look_at(free) is None:
                        reserved.append((where, free))
                        return Named(ordinal, kind, where, free, kept.size, kept.sha256, kept.md5)
                except BaseException:
                    self._reserved.release([(where, free)])
                    raise
                self._reserved.release([(where, free)])
        raise FileExistsError(errno.EEXIST, "every name that was tried is taken", self._places[where].said)

    def _store(self, one: Named) -> None:
        self._places[one.where].store(one.path, self._written[one.key][2])

    # --- originals ----------------------------------------------------------------------------------------------------

    def keep_originals(self, claimed: dict[int, str]) -> None:
        """Copies originals to the backup, and deletes them from the input once the copies are there and compared."""
        etags = self._batch.etags()
        missing = {number: path for number, path in claimed.items() if (number, ORIGINAL) not in self._notes.named}

        def fetch(item: tuple[int, str]) -> None:
            number, path = item
            with self.draft(number, ORIGINAL, "backup", path) as draft:
                is_the_same = self._batch.input.fetch(path, etags.get(path, ""), draft)
            if not is_the_same:
                del self._written[number, ORIGINAL]
                draft.close()
                log.warning(
                    "an object was replaced or deleted while it was signed, so that its original is not in the backup",
                    place=self._batch.input.said,
                    batch=str(self._batch.id),
                    file=ascii(path),
                )

        self._at_once.map(fetch, missing.items())
        self.settle()
        self._require_lease()
        self._at_once.map(lambda path: self._delete(path, etags), claimed.values())

    def _delete(self, path: str, etags: Mapping[str, str]) -> None:
        """Deletes an object that still is the one that was claimed. One that has come under its name stays."""
        found = self._batch.input.look_at(path)
        if found is not None and found.etag == etags.get(path):
            self._batch.input.delete([path])

    # --- the end ------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        self._require_lease()
        crash_site("files-kept")
        if self._batch.has_list:
            self._kept.keep(self._batch.id, results_of(self._notes.named.values()))
            self._batch.remove()

    def close(self) -> None:
        for _, _, kept in self._written.values():
            kept.close()
        self._written.clear()

    def _require_lease(self) -> None:
        if not self._is_ours():
            raise LeaseLost("another instance works on this input now")


def results_of(named: Iterable[Named]) -> list[Result]:
    """The results and texts among these, as `Published` knows them."""
    return [(one.size, bytes.fromhex(one.sha256[:32])) for one in named if one.kind != ORIGINAL]
