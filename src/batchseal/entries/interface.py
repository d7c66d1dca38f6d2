"""A place with files: what a hot folder needs of its input, its output and its backup, wherever they lie.

`folder_place.py` has folders, and `buckets/place.py` prefixes of buckets in an object store. When files are due, how a batch goes
and what texts say is the same for both (`hot_folder.py`, `batch.py`, `results.py`).

All methods block, and run in the threads of the hot folder. They raise OSError where something may pass, with `strerror` for
people. What `is_ours` guards raises LeaseLost once another instance has the input.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

from batchseal.entries.claims import Claimed
from batchseal.entries.content import Source
from batchseal.entries.files import Seen
from batchseal.entries.looks import Looks, Ready
from batchseal.entries.published import Published
from batchseal.operation import ContentType

# What has a note: the number of a file in its batch, and "result", "text", "backup-text" or "original".
Key = tuple[int, str]


class Draft(Protocol):
    """Something that is written before it is published."""

    def write(self, pieces: "Iterable[bytes | memoryview]") -> None: ...

    def close(self) -> None:
        """May be called twice."""


class Publishes(Protocol):
    """Publishes what comes of one batch. Nothing that exists is ever replaced, and a note says what is published."""

    def tidy(self) -> None:
        """Removes what a start before this one has left unfinished. Only before the first draft."""

    def noted(self) -> list[Key]:
        """What need not be written any more, only settled."""

    def draft(self, ordinal: int, kind: str, where: str, path: str) -> AbstractContextManager[Draft]:
        """A draft that `settle` publishes as `path` in the place `where`, "output" or "backup". Threads may have one each."""

    def settle(self, noted: Sequence[Key] = ()) -> None:
        """Publishes what was written, and what has a note."""

    def keep_originals(self, claimed: "dict[int, str]") -> None:
        """Moves originals to the backup, by their numbers and paths. What comes of them is published before."""

    def end(self) -> None:
        """Everything of the batch is published: what was only needed until then goes."""

    def close(self) -> None:
        """Gives back what is open. May be called at any time, and twice."""


class BatchFiles(Protocol):
    """The files of one batch, until it is closed."""

    id: UUID

    @property
    def reference(self) -> str:
        """The external reference of its operation."""

    def read_list(self) -> list[Claimed] | None:
        """The files of the batch in the order of the operation's documents; None if the list was not written."""

    def claimed_files(self) -> list[Seen]:
        """What was claimed, in the order of the paths."""

    def known_type(self, path: str) -> ContentType | None:
        """The type of a claimed file, where it need not be read again for that."""

    def write_list(self, claimed: Sequence[Claimed]) -> None:
        """Makes the list durable. From then on an operation may have the files."""

    def opened_source(self, file: Seen) -> AbstractContextManager[Source]:
        """A claimed file, open for reading."""

    def read(self, group: Sequence[Claimed]) -> list[bytes]:
        """The contents of files that are as they were listed. Raises FileChanged."""

    def parts(self, one: Claimed) -> Generator[bytes, None, None]:
        """The content of one file in parts. Raises FileChanged, and does so at the end too where that is known only then."""

    def doubles(self) -> list[str]:
        """The files that another batch has too, which this one is to give up before it is handed in."""

    def give_back(self, paths: Sequence[str]) -> None:
        """These are not of the batch any more, and are looked at again where they are still there."""

    def holds(self, path: str) -> bool:
        """Whether the file can be given back."""

    def left(self, claimed: Sequence[Claimed]) -> list[int]:
        """The numbers of the files for which something is left to do."""

    def remove(self) -> None:
        """The batch has ended. The list goes last."""

    def close(self) -> None: ...


class HotPlace(Protocol):
    """The input, output and backup of one client service.

    `said` names the input for people. So many documents as `settled` are published together.
    """

    said: str
    settled: int

    def identity(self) -> UUID:
        """What the input is leased under: the same for all instances that work on it."""

    def load_published(self, published: Published) -> None:
        """Reads what was published lately. Another instance may have had the input until now."""

    def left(self) -> list[UUID]:
        """The batches that are not ended. Raises LeaseLost where the input has another identity now."""

    def ready(self, looks: Looks) -> list[Ready]:
        """Looks at what is there, and returns the files that are ready."""

    def claim(self, ready: Sequence[Ready]) -> UUID:
        """Makes a batch of files that are still as they were seen."""

    def release(self, batch: UUID) -> None:
        """Nobody here works on the batch now."""

    def batch(self, id: UUID) -> BatchFiles: ...

    def publisher(self, batch: Any, mark: str, is_ours: Callable[[], bool], published: Published) -> Publishes:
        """`batch` is one of this place. `mark` tells apart what has the same name: the id of the operation."""

    def prune(self, output_days: int, backup_days: int) -> Iterator[tuple[str, int]]:
        """Removes what has had its time (0: nothing), and yields where it was and how many files that were."""

    def close(self) -> None: ...
