"""The folder of a batch: files that were claimed together and become one operation.

    input/.batchseal/BATCH/files/...     the claimed files, below their own folders
    input/.batchseal/BATCH/done/...      the files NAME.done that said that they were complete
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
from dataclasses import astuple, dataclass
from uuid import UUID, uuid4

import structlog

from batchseal.entries import files
from batchseal.entries.content import FileSource
from batchseal.entries.files import FILE, Seen, make_private, opened, opened_below, split
from batchseal.entries.looks import DONE, Ready
from batchseal.entries.naming import SHORTER_NAME_BYTES, candidates
from batchseal.errors import FileChanged
from batchseal.operation import ContentType
from batchseal.system.crash_sites import crash_site

PRIVATE = ".batchseal"
FILES, ANNOUNCEMENTS, LIST, NOTES = "files", "done", "list", "notes"
REFERENCE = "hot-folder-"
MOST_LIST_BYTES = 256 << 20
# A file went away, or somebody put a link or a file in the place of its folder.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# In the place of a refusal. The entry stays in the list, since notes know a file by its number there.
GIVEN_BACK = "given back"
# A file is read in parts of this size.
PART_BYTES = 1 << 20

log = structlog.get_logger("hot folder")


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

    @property
    def is_given_back(self) -> bool:
        """It is not of the batch any more."""
        return self.refusal == GIVEN_BACK


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
        """Moves files that are still as they were seen into the folder of a new batch. Durable, but for the list.

        What announces a file is moved before it: if it stayed, it would announce the next file of this name.
        """
        batch = cls(root, uuid4())
        touched = set[str]()
        for one in ready:
            path = one.file.path
            if not one.file.is_same(files.look_at(root, path)):
                continue
            if one.announcement is not None:
                batch._take_announcement(path)
            if batch._move_in(one.file):
                touched.add(split(path)[0])
            else:
                batch._return_announcement(path, path)
        batch._sync_claims(touched)
        crash_site("files-claimed")
        return batch

    def _move_in(self, file: Seen) -> bool:
        folder, name = split(path := file.path)
        try:
            with (
                opened_below(self.root, folder) as source,
                opened_below(self.root, self._files_below(folder), make_private) as target,
            ):
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                moved = os.stat(name, dir_fd=target, follow_symlinks=False)
            if not stat.S_ISREG(moved.st_mode) or moved.st_size != file.size:
                # Somebody put something else in its place just now: a link or a folder, which no list would name, or a new file,
                # which may not be complete. Some file systems change the inode and the times with the name.
                self.give_back([path])
                return False
        except OSError as problem:
            if problem.errno in (errno.EXDEV, *GONE):
                return False
            if problem.errno == errno.ENAMETOOLONG:  # some servers bound whole paths
                log.warning("the path of a file is too long to work on it", file=ascii(path))
                return False
            raise
        return True

    def _take_announcement(self, path: str) -> None:
        """One that cannot be moved stays, and is too old for the next file of this name."""
        folder, name = split(path + DONE)
        with (
            suppress(OSError),
            opened_below(self.root, folder) as source,
            opened_below(self.root, self._announcements_below(folder), make_private) as target,
        ):
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)

    def _return_announcement(self, path: str, new_path: str) -> None:
        """Lets what announced a file announce it again, under its new path. A newer one may have come meanwhile, and counts."""
        (folder, name), (new_folder, new_name) = split(path + DONE), split(new_path + DONE)
        try:
            with (
                opened_below(self.root, self._announcements_below(folder)) as source,
                opened_below(self.root, new_folder) as target,
            ):
                files.rename_new(source, name, target, new_name)
        except OSError as problem:
            if problem.errno not in (errno.EEXIST, *GONE):
                raise

    def _files_below(self, folder: str) -> str:
        return f"{self.place}/{FILES}/{folder}" if folder else f"{self.place}/{FILES}"

    def _announcements_below(self, folder: str) -> str:
        return f"{self.place}/{ANNOUNCEMENTS}/{folder}" if folder else f"{self.place}/{ANNOUNCEMENTS}"

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

    def _names_below(self, place: str) -> list[str]:
        try:
            with opened_below(self.root, place) as folder:
                return sorted(files.names_below(folder))
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

        What announced a file comes back after it. Where another file has come under the name meanwhile, the name gets a mark.
        Where something else has the name of its folder, the file comes back without that.
        """
        for path in paths:
            folder, name = split(path)
            with opened_below(self.root, self._files_below(folder)) as source:
                try:
                    new_path = self._put_back(source, name, folder)
                except OSError as problem:
                    if problem.errno not in GONE:
                        raise
                    new_path = self._put_back(source, name, "")
            self._return_announcement(path, new_path)

    def _put_back(self, source: int, name: str, folder: str) -> str:
        with opened_below(self.root, folder, _make_folder) as target:
            # A name that is no longer than the one that was there has room.
            for candidate in candidates(name, "changed", max(len(os.fsencode(name)), SHORTER_NAME_BYTES[-1])):
                with suppress(FileExistsError):
                    files.rename_new(source, name, target, candidate)
                    return f"{folder}/{candidate}" if folder else candidate
        raise FileExistsError(errno.EEXIST, "every name that was tried is taken", name)

    def _give_back_unlisted(self) -> None:
        """Puts back whatever lies here and is not on the list, and what announced a file that is not on it.

        Such a file is there if the process ended between the two steps of claiming it or of giving it back, or if an instance
        that had lost its lease went on claiming.
        """
        listed = {one.path for one in self.read_list() or () if not one.is_given_back}
        self.give_back([path for path in self._names_below(self._files_below("")) if path not in listed])
        for announcement in self._names_below(self._announcements_below("")):
            if (path := announcement.removesuffix(DONE)) not in listed:
                self._return_announcement(path, path)

    # --- the list -----------------------------------------------------------------------------------------------------

    def read_list(self) -> list[Claimed] | None:
        """The files of the batch in the order of the operation's documents; None if the list was not written."""
        try:
            with opened_below(self.root, self.place) as folder, opened(LIST, FILE, folder) as descriptor:
                content = files.read_all(descriptor, MOST_LIST_BYTES)
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
            files.remove_tree(folder, ANNOUNCEMENTS)
            for name in (NOTES, f"{LIST}.draft", LIST):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        with suppress(FileNotFoundError), opened_below(self.root, PRIVATE) as folder, suppress(FileNotFoundError):
            os.rmdir(str(self.id), dir_fd=folder)

    def close(self) -> None:
        """Closes the input folder."""
        os.close(self.root)


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
