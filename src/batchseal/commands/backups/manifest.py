"""The manifest of a backup: what it holds, of what, and the checksums of its files."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from batchseal.errors import ConfigurationError
from batchseal.system.disk import write_synced

FORMAT = 1
MANIFEST, DATABASE, INDEX, PAYLOADS = "manifest.json", "database.dump.zst", "payloads.jsonl", "payloads.bin"
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileNote:
    """A file of the backup: its length and the SHA-256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`missing` are operations whose payload was gone when it was to be copied. `payload_store` is the setting without its
    parameters. Times are ISO 8601 in UTC.
    """

    began_at: str
    ended_at: str
    version: str
    postgres: str
    instance: str
    payload_store: str
    operations: int
    unfinished: int
    last_id: int
    payloads: int
    missing: list[int]
    files: dict[str, FileNote]
    format: int = field(default=FORMAT)

    def require_store(self, payload_store: str) -> None:
        """Raises ConfigurationError if payloads of this backup cannot be put into the store of this setting.

        Another bucket or folder of the same kind will do: the rows of operations name the kind of their store alone.
        """
        if kind_of(payload_store) != kind_of(self.payload_store):
            raise ConfigurationError(
                f"--payload-store is {kind_of(payload_store)}, and the payloads of this backup are those of {self.payload_store}:"
                " give --payload-store as the service had it"
            )

    def write(self, folder: Path) -> None:
        """Makes the folder a backup: all other files are complete, and on the disk."""
        write_synced(folder / MANIFEST, json.dumps(asdict(self), indent=2).encode() + b"\n", 0o600)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises ConfigurationError if the folder is no backup, or one that this release cannot read."""
        try:
            fields: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
            if fields.get("format") != FORMAT:
                raise ConfigurationError(
                    f"{folder} is a backup of format {fields.get('format')}, this release knows {FORMAT}"
                )
            files = {name: FileNote(**note) for name, note in fields.pop("files").items()}
            return cls(**fields, files=files)
        except FileNotFoundError:
            raise ConfigurationError(f"{folder} holds no complete backup: there is no {MANIFEST}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
            raise ConfigurationError(f"{folder / MANIFEST} cannot be read: {problem}") from None

    def check(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Compares the files with their checksums. Raises ConfigurationError."""
        for name in (DATABASE, INDEX, PAYLOADS):
            tell(f"checking {name}")
            try:
                found = note_of(folder / name)
            except OSError as problem:
                raise ConfigurationError(f"{folder / name}: {problem.strerror}") from None
            if found != self.files.get(name):
                raise ConfigurationError(f"{folder / name} is not what was written: it was changed or is damaged")


class Noted:
    """A file that is written, with its length and its digest so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self.count(content)

    def count(self, content: bytes) -> None:
        """Counts what somebody else has written to the file."""
        self._digest.update(content)
        self.bytes += len(content)

    @property
    def note(self) -> FileNote:
        return FileNote(self.bytes, self._digest.hexdigest())


def kind_of(payload_store: str) -> str:
    """The kind of the payload store that a setting names: local, shared or s3."""
    return payload_store.partition(":")[0]


def note_of(path: Path) -> FileNote:
    """Reads a file. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
            size += len(block)
    return FileNote(size, digest.hexdigest())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
