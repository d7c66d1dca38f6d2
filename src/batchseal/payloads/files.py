"""A spill file that is worked on: read and appended to by one process."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from batchseal.payloads.reader import SpillReader
from batchseal.payloads.writer import SpillWriter


@dataclass(slots=True)
class Files:
    """An operation's spill file, to read what is there and to append."""

    reader: SpillReader
    writer: SpillWriter

    @classmethod
    def open(cls, folder: Path, payload_id: UUID, *, unsynced: bool) -> "Files":
        """Raises SpillDamaged, PayloadUnavailable."""
        reader = SpillReader(folder, payload_id)
        try:
            files = cls(reader, SpillWriter.reopen(reader))
            if unsynced:
                files.writer.begin_sync()  # what the signatures are going to wait for
            return files
        except BaseException:
            reader.close()
            raise

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
