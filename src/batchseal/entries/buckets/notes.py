"""What is published of a batch: notes in objects that are only added, each of which is durable when the next step is taken.

named      an object is going to be stored under this name; its length and its digests are these
there      it is there, and was compared with what was sent
void       it was not found, and whatever is written instead gets a note of its own
"""

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from batchseal.entries.buckets.claims import BucketBatch
from batchseal.entries.claims import NOTES
from batchseal.entries.interface import Key


@dataclass(frozen=True, slots=True)
class Named:
    """An object below `where`, "output" or "backup". The digests are in hexadecimal digits."""

    ordinal: int
    kind: str
    where: str
    path: str
    size: int
    sha256: str
    md5: str

    @property
    def key(self) -> Key:
        return self.ordinal, self.kind


class ObjectNotes:
    """Of one batch. `named` is everything that is not void, `there` what of it is there. All methods block."""

    def __init__(self, batch: BucketBatch) -> None:
        self._batch = batch
        self._folder = f"{batch.place}/{NOTES}"
        self._next = 0
        self.named: dict[Key, Named] = {}
        self.there: set[Key] = set()
        for name in sorted(one.key for page in batch.input.pages(self._folder) for one in page):
            content, _ = batch.input.get(name)
            self._apply(json.loads(content))
            self._next = int(name.rpartition("/")[2].partition("-")[0]) + 1

    def _apply(self, note: dict[str, list[dict[str, object]]]) -> None:
        for facts in note.get("named", ()):
            one = Named(**facts)  # type: ignore[arg-type]
            self.named[one.key] = one
            self.there.discard(one.key)
        for facts in note.get("there", ()):
            self.there.add((int(str(facts["ordinal"])), str(facts["kind"])))
        for facts in note.get("void", ()):
            self.named.pop((int(str(facts["ordinal"])), str(facts["kind"])), None)

    def name(self, named: Sequence[Named]) -> None:
        self._add({"named": [asdict(one) for one in named]})

    def settle(self, there: Collection[Key], void: Collection[Key] = ()) -> None:
        """Notes what is there, and what was not found."""
        note = {
            "there": [{"ordinal": ordinal, "kind": kind} for ordinal, kind in there],
            "void": [{"ordinal": ordinal, "kind": kind} for ordinal, kind in void],
        }
        self._add(note)

    def _add(self, note: dict[str, list[dict[str, object]]]) -> None:
        # The token keeps one who has lost the lease from replacing a note.
        name = f"{self._folder}/{self._next:06}-{secrets.token_hex(4)}"
        self._next += 1
        self._batch.input.put(name, json.dumps(note).encode("ascii"))
        self._apply(note)
