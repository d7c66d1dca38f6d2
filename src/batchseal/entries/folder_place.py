"""A `HotPlace` whose input, output and backup are folders."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from uuid import UUID

from batchseal.entries import content, files, leases
from batchseal.entries.claims import PRIVATE, Batch, batches
from batchseal.entries.content import LOCAL_SYSTEMS, Content, FileSource
from batchseal.entries.files import Seen, opened, opened_below, split
from batchseal.entries.looks import Looks, Ready
from batchseal.entries.published import Published
from batchseal.entries.publishing import Folder, Publisher
from batchseal.entries.retention import prune
from batchseal.errors import LeaseLost
from batchseal.system.mounts import Mounts

# How long an identity that was found is relied on.
IDENTIFIED_SECONDS = 1.0


class FolderPlace:
    """Its input folder is opened anew for each call, since it may be mounted anew."""

    settled = 200

    def __init__(
        self, input: str, output: Folder, backup: Folder, *, identified_seconds: float = IDENTIFIED_SECONDS
    ) -> None:
        self.said = input
        self.output = output
        self.backup = backup
        mounts = Mounts.read()  # the table alone: nothing is asked of the mount, which may hang
        self._identity: UUID | None = None  # as it was found first
        self._identified_seconds = identified_seconds
        self._identified_at = 0.0  # when it was found last (monotonic)
        self._is_local = mounts.table.get(mounts.point_of(input), ("", None))[0] in LOCAL_SYSTEMS

    def identity(self) -> UUID:
        with opened(self.said) as root:
            self._identity = leases.identity(root)
            return self._identity

    def _is_identified(self, root: int) -> bool:
        """Whether the input still has the identity under which it is leased. Where that was removed, it is made once more."""
        if self._identity is None:
            return True
        self._identified_at = time.monotonic()
        return leases.identity(root, self._identity) == self._identity

    def _require_identity(self, root: int) -> None:
        if not self._is_identified(root):
            raise LeaseLost(f"{self.said}/{PRIVATE}/{leases.ID} was replaced")

    def load_published(self, published: Published) -> None:
        with opened(self.said) as root:
            published.load(root)

    def left(self) -> list[UUID]:
        with opened(self.said) as root:
            self._require_identity(root)
            return batches(root)

    def ready(self, looks: Looks) -> list[Ready]:
        with opened(self.said) as root:
            found = files.walk(root, lambda name: name == PRIVATE or looks.is_ignored(name))
            return looks.look(found, time.monotonic(), partial(self._judge, root))

    def _judge(self, root: int, file: Seen) -> Content | None:
        folder, name = split(file.path)
        try:
            with opened_below(root, folder) as place, opened(name, files.FILE, place) as descriptor:
                size = os.fstat(descriptor).st_size
                return content.judge(FileSource(descriptor, size, local=self._is_local), name)
        except OSError:
            return None

    def claim(self, ready: Sequence[Ready]) -> UUID:
        with opened(self.said) as root:
            self._require_identity(root)
            return Batch.claim(root, ready).id

    def release(self, batch: UUID) -> None:
        """What is claimed lies in the folder of its batch, and nothing else is kept of it."""

    def batch(self, id: UUID) -> Batch:
        return Batch(os.open(self.said, files.FOLDER), id)

    def publisher(self, batch: Batch, mark: str, is_ours: Callable[[], bool], published: Published) -> Publisher:
        def is_still_ours() -> bool:
            """Asks the input as often as a look does, since no look happens while batches wait for their turn."""
            is_fresh = time.monotonic() - self._identified_at < self._identified_seconds
            return is_ours() and (is_fresh or self._is_identified(batch.root))

        return Publisher(batch, self.output, self.backup, mark, is_still_ours, published)

    def prune(self, output_days: int, backup_days: int) -> Iterator[tuple[str, int]]:
        for folder, days in ((self.output, output_days), (self.backup, backup_days)):
            if days and (removed := prune(folder, days)):
                yield str(folder.path), removed

    def close(self) -> None:
        """Nothing stays open."""
