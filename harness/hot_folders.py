"""Hot folders for tests and benchmarks: their three folders, the configuration, and files that come and go."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from batchseal.settings.hot_folders import Asked, HotFolder
from harness.invoices import invoice
from harness.xml_invoices import xml_invoice

CLIENT = "erp"
# Files are signed within about a second.
FAST_FLAGS = (
    "--hot-folder-enabled=true",
    "--hot-folder-look=0.2",
    "--hot-folder-flush=1",
    "--hot-folder-unfinished=3",
    "--sandbox",
)


@dataclass(frozen=True, slots=True)
class Folders:
    """The three folders of a client service."""

    input: Path
    backup: Path
    output: Path

    @classmethod
    def make(cls, place: Path) -> "Folders":
        folders = cls(place / "in", place / "backup", place / "out")
        for folder in (folders.input, folders.backup, folders.output):
            folder.mkdir(parents=True, exist_ok=True)
        return folders

    def asked(self, *, other_types: bool = True) -> HotFolder:
        """As the configuration has them, with nothing asked of the signatures."""
        otherwise = Asked(other_types=other_types)
        return HotFolder(str(self.input), str(self.backup), str(self.output), otherwise)

    def entry(self) -> dict[str, str]:
        """What the file of client services says of them."""
        return {"inputFolder": str(self.input), "backupFolder": str(self.backup), "outputFolder": str(self.output)}


class Named(Protocol):
    """Folders, or prefixes of buckets."""

    def entry(self) -> dict[str, str]: ...


def configure(work: Path, folders: Named, hot: Mapping[str, Any] | None = None, **more: Any) -> Path:
    """Writes the file of client services, with one client service that has these folders."""
    work.mkdir(exist_ok=True)
    entry = {"secret": "a secret of this test", **folders.entry(), **more, **({"hotFolder": hot} if hot else {})}
    path = work / "client-services-config.json"
    path.write_text(json.dumps({CLIENT: entry}))
    path.chmod(0o600)
    return path


def below(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths, but those of the service itself, and those that it takes away meanwhile."""
    found = dict[str, bytes]()
    for path in files_below(folder):
        with suppress(FileNotFoundError):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def files_below(folder: Path) -> Iterator[Path]:
    """The same files. Folders may come and go meanwhile."""
    for place, folders, names in os.walk(folder):
        if place == str(folder):
            folders[:] = [name for name in folders if name != ".batchseal"]
        yield from (path for name in names if (path := Path(place, name)).is_file())


def left_over(folders: Folders) -> list[str]:
    """What the service has left of its own, but for what it keeps in the input folder."""
    places = [one / ".batchseal" for one in (folders.input, folders.backup, folders.output)]
    found = [
        str(Path(place, name)) for top in places for place, below, names in os.walk(top) for name in (*below, *names)
    ]
    kept = tuple(str(folders.input / ".batchseal" / name) for name in ("id", "published"))
    return [path for path in found if not path.startswith(kept)]


def put(folders: Folders, path: str, content: bytes) -> Path:
    """Brings a file as a careful program does: it gets its name when it is whole."""
    target = folders.input / path
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(".draft")
    draft.write_bytes(content)
    draft.rename(target)
    return target


def mixed_file(number: int, size_bytes: int) -> tuple[str, bytes]:
    """PDF, XML and others in turns, in ten folders: a path, and a content that no other number has."""
    name = f"{number % 10}/file {number}"
    if number % 3 == 0:
        return f"{name}.pdf", invoice(number, size_bytes=size_bytes)
    if number % 3 == 1:
        return f"{name}.xml", xml_invoice(number % 8, size_bytes=size_bytes) + b"<!-- %d -->" % number
    return f"{name}.bin", b"%d " % number + bytes(range(1, 251)) * (size_bytes // 250)
