"""What was written aside for a batch and is durable: notes in its folder (`claims.py`), which `publishing.py` makes."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from batchseal.entries import files
from batchseal.entries.claims import MOST_LIST_BYTES, NOTES, Batch
from batchseal.entries.files import FILE, opened, opened_below


@dataclass(frozen=True, slots=True)
class Noted:
    """A draft in the folder `where`, "output" or "backup", that becomes the file `path` there.

    `size` and `digest` (half of its SHA-256, in hexadecimal digits) are those of a result; 0 and empty for an original.
    """

    ordinal: int
    kind: str
    draft: str
    where: str
    path: str
    size: int = 0
    digest: str = ""


class Notes:
    """What was written aside and is durable, and so may get its name: lines that are only added, each durable when it counts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.drafts: dict[tuple[int, str], Noted] = {}  # by ordinal and kind
        for line in self._lines():
            if line.pop("void", False):
                self.drafts.pop((line["ordinal"], line["kind"]), None)
            else:
                self.drafts[line["ordinal"], line["kind"]] = Noted(**line)

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            with opened_below(self._batch.root, self._batch.place) as folder, opened(NOTES, FILE, folder) as descriptor:
                content = files.read_all(descriptor, MOST_LIST_BYTES)
        except FileNotFoundError:
            return
        for line in filter(None, content.split(b"\n")):
            with suppress(ValueError):  # a line that a power cut has cut off, so that nothing was done after it
                yield json.loads(line)

    def add(self, noted: Sequence[Noted], *, void: bool = False) -> None:
        """Notes drafts. With `void`, takes them back: they were lost before they had their names."""
        lines = [json.dumps(asdict(one) | ({"void": True} if void else {})) for one in noted]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with opened_below(self._batch.root, self._batch.place) as folder:
            descriptor = os.open(NOTES, flags, 0o600, dir_fd=folder)
            try:
                # A line that was cut off ends before the first one of these.
                files.write_all(descriptor, ("\n" + "\n".join(lines) + "\n").encode("ascii"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            files.sync_folder(folder)
        for one in noted:
            if void:
                self.drafts.pop((one.ordinal, one.kind), None)
            else:
                self.drafts[one.ordinal, one.kind] = one
