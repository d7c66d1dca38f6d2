"""A `HotPlace` whose input, output and backup are prefixes of buckets."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from batchseal.entries import content
from batchseal.entries.buckets.claims import BATCHES, BucketBatch, Claims
from batchseal.entries.buckets.prefix import AtOnce, ObjectSource, Prefix
from batchseal.entries.buckets.published import PublishedObjects
from batchseal.entries.buckets.publishing import BucketPublisher
from batchseal.entries.buckets.reserved import Reserved
from batchseal.entries.claims import LIST, PRIVATE
from batchseal.entries.content import Content
from batchseal.entries.files import Seen
from batchseal.entries.looks import DONE, Looks, Ready
from batchseal.entries.published import Published
from batchseal.entries.retention import DAY_SECONDS
from batchseal.payloads.objects import Objects, Stored

# So many objects, or twice as many as a batch takes, are looked at together. The others have their turn when these are claimed.
MOST_LOOKED_AT = 2_000
# Smaller than with folders: until a group is published, it lies in local files.
SETTLED = 50
DELETED_AT_ONCE = 200


class BucketPlace:
    """`drafts` is a folder of this machine. `threshold` is how many files a batch takes, `most` how many a look does."""

    settled = SETTLED

    def __init__(
        self,
        input: Objects,
        output: Objects,
        backup: Objects,
        drafts: Path,
        threshold: int,
        *,
        most: int = MOST_LOOKED_AT,
    ) -> None:
        self._at_once = AtOnce()
        self.input, self.output, self.backup = (Prefix(one, self._at_once) for one in (input, output, backup))
        self.said = self.input.said
        self._drafts = drafts
        self._most = max(most, 2 * threshold)
        self._claims = Claims()
        self._reserved = Reserved()
        self._published = PublishedObjects(self.input, self._at_once)
        self._etags: dict[Seen, str] = {}  # of the last look
        self._judged: dict[Seen, Content | None] = {}

    def identity(self) -> UUID:
        """From the name, since all instances reach one store. Nothing has to be made, which two of them could do at once."""
        return uuid5(NAMESPACE_URL, self.said)

    def load_published(self, published: Published) -> None:
        self._published.load(published)

    def left(self) -> list[UUID]:
        """A list that is not there any more was removed by another instance, or by whoever tidies buckets."""
        before, found = self._claims.known_lists(), set[UUID]()
        for page in self.input.pages(BATCHES):
            for one in page:
                name, _, rest = one.key.removeprefix(f"{BATCHES}/").partition("/")
                if rest == LIST:
                    with suppress(ValueError):
                        found.add(UUID(name))
        for id in before - found:
            self._claims.forget(id)
        for id in found - before:
            batch = self.batch(id)
            if id in self._published.ended:
                found.discard(id)
            else:
                batch.read_list()  # so that no look takes its objects for new ones
        return sorted(found)

    def ready(self, looks: Looks) -> list[Ready]:
        self._etags = {}
        return looks.look(self._objects(looks), time.monotonic(), lambda file: self._judged.get(file), self._judge)

    def _objects(self, looks: Looks) -> Iterator[Seen]:
        """Objects that no batch has, and not more than are worked on."""
        taken = self._claims.taken()
        free = (one for page in self.input.pages() for one in page if (one.key, one.etag) not in taken)
        found = (one for one in free if not self._is_left_alone(one, looks))
        # What is not announced is not ready, and would take the place of others.
        for one in announced(found, self._most) if looks.needs_announcements else found:
            file = seen(one)
            self._etags[file] = one.etag
            yield file
            if len(self._etags) >= self._most:
                return

    def _is_left_alone(self, one: Stored, looks: Looks) -> bool:
        """Empty objects are never ready, and consoles make one for each folder: they would take the place of others."""
        if not one.size and not (looks.needs_announcements and one.key.endswith(DONE)):
            return True
        return any(part == PRIVATE or looks.is_ignored(part) for part in one.key.split("/"))

    def _judge(self, files: list[Seen]) -> None:
        """Reads several at the same time. What an object is does not change as long as its ETag is the same."""
        new = [file for file in files if self._judged.get(file) is None]
        answers = self._at_once.map(self._judge_one, new)
        refused = [one for one in answers if isinstance(one, OSError)]
        if refused and len(refused) == len(new):
            raise refused[0]
        judged = {file: None if isinstance(one, OSError) else one for file, one in zip(new, answers, strict=True)}
        self._judged = {file: judged[file] if file in judged else self._judged[file] for file in files}

    def _judge_one(self, file: Seen) -> Content | OSError | None:
        """An error may be of the store, or of this one object, which then is left alone."""
        try:
            return content.judge(ObjectSource(self.input, file), file.path.rpartition("/")[2])
        except FileNotFoundError:
            return None
        except OSError as problem:
            return problem

    def claim(self, ready: Sequence[Ready]) -> UUID:
        """In memory alone: the list makes it last."""
        id = uuid4()
        known = [one for one in ready if one.file in self._etags]
        self._claims.begin(id, known, {one.file.path: self._etags[one.file] for one in known})
        return id

    def release(self, batch: UUID) -> None:
        self._claims.release(batch)

    def batch(self, id: UUID) -> BucketBatch:
        """One that has ended is removed first. Its notes may be gone in part, and say no more what is published."""
        batch = BucketBatch(self.input, self._claims, id, self._at_once)
        if id in self._published.ended:
            batch.remove()
        return batch

    def publisher(
        self, batch: BucketBatch, mark: str, is_ours: Callable[[], bool], published: Published
    ) -> BucketPublisher:
        return BucketPublisher(
            batch,
            self.output,
            self.backup,
            mark,
            is_ours=is_ours,
            published=published,
            kept=self._published,
            reserved=self._reserved,
            at_once=self._at_once,
            drafts=self._drafts,
        )

    def prune(self, output_days: int, backup_days: int) -> Iterator[tuple[str, int]]:
        for prefix, days in ((self.output, output_days), (self.backup, backup_days)):
            if days and (removed := prune(prefix, time.time() - days * DAY_SECONDS)):
                yield prefix.said, removed

    def close(self) -> None:
        self._at_once.close()


def seen(one: Stored) -> Seen:
    """An object as a look sees it. Its ETag stands in the place of the inode of a file."""
    stored_ns = int(one.stored_at.timestamp() * 1e9)
    mark = int.from_bytes(hashlib.sha256(one.etag.encode()).digest()[:8])
    return Seen(one.key, one.size, stored_ns, stored_ns, mark)


def announced(objects: Iterable[Stored], most: int) -> Iterator[Stored]:
    """Of objects in the order of their keys, those that another one announces, each before that one.

    A key comes before its announcement. Between them are only keys that begin with it, so hardly more than `most` are kept.
    """
    waiting = dict[str, Stored]()
    for one in objects:
        if one.key.endswith(DONE):
            if (file := waiting.pop(one.key.removesuffix(DONE), None)) is not None:
                yield file
                yield one
            continue
        waiting[one.key] = one
        if len(waiting) > most:
            waiting = {key: file for key, file in waiting.items() if key + DONE > one.key}


def prune(prefix: Prefix, before: float) -> int:
    """Removes the objects that were stored before a time (seconds since the epoch), and returns how many. Hidden ones stay."""
    removed, old = 0, list[str]()
    for page in prefix.pages():
        old += [one.key for one in page if one.stored_at.timestamp() < before and not is_hidden(one.key)]
        while len(old) >= DELETED_AT_ONCE:
            prefix.delete(old[:DELETED_AT_ONCE])
            removed += DELETED_AT_ONCE
            del old[:DELETED_AT_ONCE]
    prefix.delete(old)
    return removed + len(old)


def is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))
