"""The folder of a batch: files that were claimed together and become one operation.

    input/.batchseal/BATCH/files/...     the claimed files, below their own folders
    input/.batchseal/BATCH/list          which file is which document; complete or not there
    input/.batchseal/BATCH/notes         what was written aside for the output and backup folders (`publishing.py`)

BATCH is a UUID, and with `hot-folder-` before it the external reference of the operation. All methods block.
"""

import errno
import json
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass
from typing import Any
from uuid import UUID, uuid4

from batchseal.entries import files
from batchseal.entries.content import FileSource
from batchseal.entries.files import FILE, Seen, make_private, opened, opened_below, split
from batchseal.entries.looks import DONE, Ready
from batchseal.entries.naming import candidates
from batchseal.errors import FileChanged
from batchseal.operation import ContentType
from batchseal.system.crash_sites import crash_site

PRIVATE = ".batchseal"
FILES, LIST, NOTES = "files", "list", "notes"
REFERENCE = "hot-folder-"
MOST_LIST_BYTES = 256 << 20
# A file is read in parts of this size.
PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed file: its path below the input folder, its size and time when it was listed, and its type.

    `refusal` says why it is not handed in.
    """

    path: str
    size: int
    modified_ns: int
    type: ContentType
    refusal: str = ""


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


class Batch:
    """One batch below the input folder with this descriptor, which stays open as long as the batch is used.

    It is the `BatchFiles` of a folder (`interface.py`).
    """

    def __init__(self, root: int, id: UUID) -> None:
        self.root = root
        self.id = id
        self.place = f"{PRIVATE}/{id}"

    @property
    def reference(self) -> str:
        """The external reference of its operation."""
        return f"{REFERENCE}{self.id}"

    # --- claiming -----------------------------------------------------------------------------------------------------

    @classmethod
    def claim(cls, root: int, ready: Sequence[Ready]) -> "Batch":
        """Moves files that are still as they were seen into the folder of a new batch. Durable, but for the list."""
        batch = cls(root, uuid4())
        touched = set[str]()
        for one in ready:
            if one.file.is_same(files.look_at(root, one.file.path)) and batch._move_in(one.file.path):
                touched.add(split(one.file.path)[0])
                if one.is_announced:
                    batch._remove_announcement(one.file.path)
        batch._sync_claims(touched)
        crash_site("files-claimed")
        return batch

    def _move_in(self, path: str) -> bool:
        folder, name = split(path)
        try:
            with (
                opened_below(self.root, folder) as source,
                opened_below(self.root, self._files_below(folder), make_private) as target,
            ):
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                if not stat.S_ISREG(os.stat(name, dir_fd=target, follow_symlinks=False).st_mode):
                    # Somebody put a link or a folder in its place just now. No list would name it, and it would stay here.
                    files.rename_new(target, name, source, name)
                    return False
        except OSError as problem:
            # It went away, somebody put a link in the place of its folder, or it is another mount.
            if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                return False
            raise
        return True

    def _remove_announcement(self, path: str) -> None:
        folder, name = split(path)
        with suppress(OSError), opened_below(self.root, folder) as source:
            os.unlink(name + DONE, dir_fd=source)

    def _files_below(self, folder: str) -> str:
        return f"{self.place}/{FILES}/{folder}" if folder else f"{self.place}/{FILES}"

    def _sync_claims(self, folders: set[str]) -> None:
        """A claim that a power cut undoes after its operation is registered would have the file signed twice."""
        made = {place for folder in folders for place in files.with_those_above(self._files_below(folder))}
        # The new names first: a file must not be without any.
        for place in dict.fromkeys((*(made - {""}), self.place, PRIVATE, *folders, "")):
            with suppress(FileNotFoundError), opened_below(self.root, place) as descriptor:
                files.sync_folder(descriptor)

    # --- the files ----------------------------------------------------------------------------------------------------

    def claimed_files(self) -> list[Seen]:
        """What lies in the folder of the batch, in the order of the paths."""
        try:
            with opened_below(self.root, self._files_below("")) as folder:
                return sorted(files.walk(folder, lambda name: False), key=lambda one: one.path)
        except FileNotFoundError:
            return []

    def holds(self, path: str) -> bool:
        """Whether the original is still here, so that something is left to do for it."""
        with self.opened_folder(path) as found:
            if found is None:
                return False
            try:
                os.stat(split(path)[1], dir_fd=found, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    @contextmanager
    def opened_folder(self, path: str) -> Iterator[int | None]:
        """The folder of a claimed file, open; None if it is not there any more."""
        try:
            descriptor = self._open_folder(split(path)[0])
        except (FileNotFoundError, NotADirectoryError):
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_folder(self, folder: str) -> int:
        with opened_below(self.root, self._files_below(folder)) as descriptor:
            return os.dup(descriptor)

    @contextmanager
    def opened_file(self, path: str) -> Iterator[int]:
        """A claimed file, open for reading."""
        folder, name = split(path)
        with opened_below(self.root, self._files_below(folder)) as place, opened(name, FILE, place) as descriptor:
            yield descriptor

    @contextmanager
    def opened_source(self, file: Seen) -> Iterator[FileSource]:
        """A claimed file, open for reading."""
        with self.opened_file(file.path) as descriptor:
            yield FileSource(descriptor, file.size)

    def known_type(self, path: str) -> ContentType | None:
        """None: a file may have changed until it was claimed, and is read once more."""
        return None

    def read(self, group: Sequence[Claimed]) -> list[bytes]:
        """The contents of files that are as they were listed. Raises FileChanged."""
        contents = [list(self.parts(one)) for one in group]
        return [parts[0] if len(parts) == 1 else b"".join(parts) for parts in contents]

    def parts(self, one: Claimed) -> Generator[bytes, None, None]:
        """Raises FileChanged, at the end too."""
        try:
            with self.opened_file(one.path) as descriptor:
                before, left = os.fstat(descriptor), one.size
                while left and (block := os.read(descriptor, min(left, PART_BYTES))):
                    yield block
                    left -= len(block)
                after = os.fstat(descriptor)
        except FileNotFoundError:
            raise FileChanged(one.path) from None
        same = before.st_ctime_ns == after.st_ctime_ns and after.st_mtime_ns == one.modified_ns
        if left or after.st_size != one.size or not same:
            raise FileChanged(one.path)

    def left(self, claimed: Sequence[Claimed]) -> list[int]:
        """The numbers of the files whose originals are still here."""
        return [number for number, one in enumerate(claimed) if self.holds(one.path)]

    def doubles(self) -> list[str]:
        """None: a rename claims a file for one batch alone."""
        return []

    def give_back(self, paths: Sequence[str]) -> None:
        """Puts files that have changed since they were claimed back where they were; they are looked at again.

        Where another file has come under the name meanwhile, the name gets a mark.
        """
        for path in paths:
            folder, name = split(path)
            with (
                opened_below(self.root, self._files_below(folder)) as source,
                opened_below(self.root, folder, _make_folder) as target,
            ):
                for candidate in candidates(name, "changed"):
                    with suppress(FileExistsError):
                        files.rename_new(source, name, target, candidate)
                        break
                else:
                    raise FileExistsError(errno.EEXIST, "every name that was tried is taken", path)

    def _give_back_unlisted(self) -> None:
        """Puts files back that lie here and are not on the list.

        Such a file is there if the process ended between the two steps of giving it back, or if an instance that had lost its
        lease went on claiming.
        """
        listed = {one.path for one in self.read_list() or ()}
        self.give_back([one.path for one in self.claimed_files() if one.path not in listed])

    # --- the list -----------------------------------------------------------------------------------------------------

    def read_list(self) -> list[Claimed] | None:
        """The files of the batch in the order of the operation's documents; None if the list was not written."""
        try:
            with opened_below(self.root, self.place) as folder, opened(LIST, FILE, folder) as descriptor:
                content = _read_all(descriptor, MOST_LIST_BYTES)
        except FileNotFoundError:
            return None
        return [
            Claimed(path, size, modified_ns, ContentType(type_), refusal)
            for path, size, modified_ns, type_, refusal in json.loads(content)
        ]

    def write_list(self, claimed: Sequence[Claimed]) -> None:
        """Makes the list durable. From then on an operation may have the files."""
        table = [astuple(one) for one in claimed]
        draft = f"{LIST}.draft"
        with opened_below(self.root, self.place, make_private) as folder:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            descriptor = os.open(draft, files.NEW, 0o600, dir_fd=folder)
            try:
                files.write_all(descriptor, json.dumps(table).encode("ascii"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(draft, LIST, src_dir_fd=folder, dst_dir_fd=folder)
            files.sync_folder(folder)
        crash_site("files-listed")

    # --- the end ------------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        """Removes the folder of a batch that holds no original any more; the list goes last but for the folder."""
        self._give_back_unlisted()
        with suppress(FileNotFoundError), opened_below(self.root, self.place) as folder:
            files.remove_empty_folders(folder, FILES)
            for name in (NOTES, f"{LIST}.draft", LIST):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        with suppress(FileNotFoundError), opened_below(self.root, PRIVATE) as folder, suppress(FileNotFoundError):
            os.rmdir(str(self.id), dir_fd=folder)

    def close(self) -> None:
        """Closes the input folder."""
        os.close(self.root)


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
                content = _read_all(descriptor, MOST_LIST_BYTES)
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


def batches(root: int) -> list[UUID]:
    """All batches whose folders are there."""
    found = []
    with suppress(FileNotFoundError), opened_below(root, PRIVATE) as folder:
        for name in os.listdir(folder):
            with suppress(ValueError):
                found.append(UUID(name))
    return found


def _make_folder(above: int, name: str) -> None:
    os.mkdir(name, 0o775, dir_fd=above)


def _read_all(descriptor: int, most_bytes: int) -> bytes:
    content = bytearray()
    while len(content) <= most_bytes and (block := os.read(descriptor, 1 << 20)):
        content += block
    return bytes(content)
