"""Puts files into output and backup folders: written aside, durable, noted, renamed. Nothing that exists is ever replaced.

    1 draft    FOLDER/.batchseal/BATCH/ORDINAL.KIND.TOKEN is written, with its permissions and group, and fsynced.
    2 note     A line in the notes of the batch names the draft, and is fsynced. From then on the draft is what is published.
    3 name     The draft is renamed to its final name, and the folder is fsynced.

So a draft that is noted and not there any more has its name, and may have been taken away by those who read the folder. Where
the folder of the drafts is not there either, somebody has removed it, or another disk is there: then the file is written again,
since a file that comes twice does less harm than one that never comes. A draft that is not noted belongs to a start before this
one, and is removed. All methods block.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from batchseal.entries import files, naming
from batchseal.entries.claims import PRIVATE, Batch
from batchseal.entries.files import opened, opened_below, split
from batchseal.entries.notes import Noted, Notes
from batchseal.entries.published import Published, Result
from batchseal.errors import LeaseLost
from batchseal.system.crash_sites import crash_site
from batchseal.system.mounts import Mounts

# What a file system answers to a name that it cannot have.
BAD_NAME = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EPROTO)
# Behind the name of a folder where a file has that name.
FOLDER_MARK = " (folder)"


class Folder:
    """An output or backup folder. `mode` is that of the files in it."""

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        self.mode = mode
        self._folder_mode = mode | (mode & 0o444) >> 2
        self._mounted_at = Mounts.read().point_of(str(path))
        self._device: int | None = None

    @contextmanager
    def open(self) -> Iterator[int]:
        """The folder itself, which is opened anew each time, since it may be mounted anew.

        Raises OSError if it is not there, or if its mount was taken away: then there is an empty folder of the disk below it.
        """
        with opened(self.path) as descriptor:
            if (device := os.fstat(descriptor).st_dev) != self._device:
                point = Mounts.read().point_of(str(self.path))
                if len(point) < len(self._mounted_at):
                    raise OSError(errno.ESTALE, f"nothing is mounted at {self._mounted_at} any more", str(self.path))
                self._mounted_at, self._device = point, device
            with self.named():
                yield descriptor

    @contextmanager
    def named(self) -> Iterator[None]:
        """An error in the block names this folder."""
        try:
            yield
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, str(self.path)) from problem

    def draft(self, batch: Batch, name: str) -> "DraftFile":
        """Begins a draft."""
        with self.open() as root, opened_below(root, f"{PRIVATE}/{batch.id}", files.make_private) as place:
            descriptor = os.open(name, files.NEW, 0o600, dir_fd=place)
            return DraftFile(descriptor, self.mode, os.fstat(root).st_gid)

    def drafts(self, batch: Batch) -> set[str]:
        """The drafts of a batch that are here."""
        try:
            with self.open() as root, opened_below(root, f"{PRIVATE}/{batch.id}") as place:
                return set(os.listdir(place))
        except FileNotFoundError:
            return set()

    def has_drafts_of(self, batch: Batch) -> bool:
        """Whether the folder for the drafts of a batch is here, which stays until the batch has ended."""
        with self.open() as root:
            try:
                with opened_below(root, f"{PRIVATE}/{batch.id}"):
                    return True
            except FileNotFoundError:
                return False

    def remove_drafts(self, batch: Batch, names: Sequence[str]) -> None:
        with suppress(FileNotFoundError), self.open() as root, opened_below(root, f"{PRIVATE}/{batch.id}") as place:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=place)

    def forget(self, batch: Batch) -> None:
        """Removes the folder of a batch, whose drafts all have their names."""
        with suppress(FileNotFoundError), self.open() as root, opened_below(root, PRIVATE) as place:
            files.remove_tree(place, str(batch.id))

    def name_draft(self, batch: Batch, name: str, path: str, mark: str) -> str | None:
        """Renames a draft to `path`, or to the first free name like it. Returns the folder that has it now.

        None if there is no such draft.
        """
        if "/" in name:
            raise OSError(errno.EINVAL, "the notes of a batch name a draft in another folder", str(self.path))
        with self.open() as root:
            try:
                with opened_below(root, f"{PRIVATE}/{batch.id}") as place:
                    os.stat(name, dir_fd=place, follow_symlinks=False)
                    place = os.dup(place)
            except FileNotFoundError:
                return None
            try:
                return self._place(root, place, name, path, mark)
            finally:
                os.close(place)

    def take(self, source: int, name: str, path: str, mark: str) -> str:
        """Moves a file from an open folder of the same mount. Raises OSError (EXDEV) if it is another one."""
        with self.open() as root:
            return self._place(root, source, name, path, mark)

    def _place(self, root: int, source: int, name: str, path: str, mark: str) -> str:
        refused = OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        for folder, wanted, most_bytes in possible_names(path):
            try:
                return self._rename(root, source, name, folder, naming.candidates(wanted, mark, most_bytes))
            except OSError as problem:
                if problem.errno not in BAD_NAME:
                    raise
                refused = problem
        raise refused

    def _rename(self, root: int, source: int, name: str, folder: str, wanted: Iterable[str]) -> str:
        with self._folder_for(root, folder) as (target, there):
            for candidate in wanted:
                try:
                    files.rename_new(source, name, target, candidate)
                    return there
                except FileExistsError:
                    continue
        raise FileExistsError(errno.EEXIST, "every name that was tried is taken", folder)

    @contextmanager
    def _folder_for(self, root: int, folder: str) -> Iterator[tuple[int, str]]:
        """The folder for a file, made where it is missing, and its path. Where a file has its name, a folder beside that."""
        descriptor, there = os.dup(root), list[str]()
        try:
            for part in filter(None, folder.split("/")):
                below, taken = self._below(root, descriptor, part)
                os.close(descriptor)
                descriptor = below
                there.append(taken)
            yield descriptor, "/".join(there)
        finally:
            os.close(descriptor)

    def _below(self, root: int, above: int, name: str) -> tuple[int, str]:
        for candidate in (name, naming.with_suffix(name, FOLDER_MARK)):
            try:
                with opened_below(above, candidate, partial(self._make, os.fstat(root).st_gid)) as descriptor:
                    return os.dup(descriptor), candidate
            except OSError as problem:
                if problem.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)

    def _make(self, group: int, above: int, name: str) -> None:
        os.mkdir(name, self._folder_mode, dir_fd=above)
        with suppress(OSError), opened(name, dir_fd=above) as descriptor:
            if os.fstat(descriptor).st_gid != group:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, os.fstat(descriptor).st_mode & 0o7000 | self._folder_mode)

    def sync(self, folders: Iterable[str]) -> None:
        """Fsyncs the names in these folders, and those of the folders above them: any of them may have been made just now."""
        with self.open() as root:
            for folder in {above for one in folders for above in files.with_those_above(one)}:
                with suppress(FileNotFoundError), opened_below(root, folder) as descriptor:
                    files.sync_folder(descriptor)


def possible_names(path: str) -> Iterator[tuple[str, str, int]]:
    """What a file may be called whose path a file system may not take: a folder, a name, and how many bytes a name may have.

    As it came, without what other operating systems do not take, shorter and shorter, and last without its folders.
    """
    folder, name = split(path)
    yield folder, name, naming.MOST_NAME_BYTES
    plain, name = [naming.plain(part) for part in folder.split("/") if part], naming.plain(name)
    for most_bytes in (naming.MOST_NAME_BYTES, *naming.SHORTER_NAME_BYTES):
        yield "/".join(naming.shortened(part, most_bytes) for part in plain), name, most_bytes
    yield "", name, naming.SHORTER_NAME_BYTES[-1]


class DraftFile:
    """An open draft. One that is not finished is removed by the next try."""

    def __init__(self, descriptor: int, mode: int, group: int) -> None:
        self._descriptor = descriptor
        self._mode = mode
        self._group = group
        self._sha256 = hashlib.sha256()
        self.size = 0  # of what `write` has written

    def write(self, pieces: "Iterable[bytes | memoryview]") -> None:
        """Writes what comes next."""
        for piece in pieces:
            files.write_all(self._descriptor, piece)
            self._sha256.update(piece)
            self.size += len(piece)

    @property
    def digest(self) -> str:
        """Half of the SHA-256 of what was written, in hexadecimal digits. Empty where nothing was."""
        return self._sha256.hexdigest()[:32] if self.size else ""

    def copy(self, source: int) -> None:
        """Writes the content of an open file."""
        files.copy(source, self._descriptor)

    def finish(self) -> None:
        """Gives the file the group of its folder and the permissions that it is to have, where that can be done. Fsyncs it."""
        with suppress(OSError):
            if os.fstat(self._descriptor).st_gid != self._group:
                os.fchown(self._descriptor, -1, self._group)
        with suppress(OSError):
            os.fchmod(self._descriptor, self._mode)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Publisher:
    """Publishes what comes of one batch. `mark` tells apart what has the same name: the id of the operation. `published` is told.

    `is_ours` says whether this instance still works on the folder. Every method may raise OSError, and LeaseLost.
    """

    def __init__(
        self,
        batch: Batch,
        output: Folder,
        backup: Folder,
        mark: str,
        is_ours: Callable[[], bool],
        published: Published,
    ) -> None:
        self._batch = batch
        self._folders = {"output": output, "backup": backup}
        self._backup = backup
        self._mark = mark
        self._is_ours = is_ours
        self._token = secrets.token_hex(4)
        self._notes = Notes(batch)
        self._published = published
        published.add(results_of(self._notes.drafts.values()))
        self._written: dict[tuple[int, str], Noted] = {}

    def tidy(self) -> None:
        """Removes drafts that no note names. Only before the first draft of this object."""
        self._require_lease()  # another instance may have drafts that this one knows no notes of
        noted = {one.draft for one in self._notes.drafts.values()}
        for folder in self._folders.values():
            if left := [name for name in folder.drafts(self._batch) if name not in noted]:
                folder.remove_drafts(self._batch, left)

    def noted(self) -> list[tuple[int, str]]:
        """What has a note, by ordinal and kind: then nothing has to be written any more, only named (`settle`)."""
        return list(self._notes.drafts)

    @contextmanager
    def draft(self, ordinal: int, kind: str, where: str, path: str) -> Iterator[DraftFile]:
        """A draft to write, which `settle` publishes as `path` in the folder `where` ("output" or "backup").

        `kind` tells the drafts of one document apart. Threads may write different drafts at the same time.
        """
        self._require_lease()
        name, folder = f"{ordinal}.{kind}.{self._token}", self._folders[where]
        draft = folder.draft(self._batch, name)
        try:
            with folder.named():
                yield draft
                draft.finish()
        finally:
            draft.close()
        noted = self._written[ordinal, kind] = Noted(ordinal, kind, name, where, path, draft.size, draft.digest)
        self._published.add(results_of([noted]))

    def settle(self, noted: Sequence[tuple[int, str]] = ()) -> None:
        """Notes and names everything that was written, and names what a start before this one has noted, by ordinal and kind."""
        written = list(self._written.values())
        self._require_lease()
        if written:
            crash_site("files-drafted")
            # A note counts for more than what is there, so the names of the drafts are durable before it.
            for where in {one.where for one in written}:
                self._folders[where].sync([f"{PRIVATE}/{self._batch.id}"])
            self._notes.add(written)
            crash_site("files-noted")
            self._require_lease()
        touched: dict[str, set[str]] = {}
        lost = []
        for one in [*written, *(self._notes.drafts[key] for key in noted)]:
            folder = self._folders[one.where]
            there = folder.name_draft(self._batch, one.draft, one.path, self._mark)
            if there is not None:
                touched.setdefault(one.where, set()).add(there)
            elif (one.ordinal, one.kind) in self._written or not folder.has_drafts_of(self._batch):
                lost.append(one)
            self._written.pop((one.ordinal, one.kind), None)
        for where, places in touched.items():
            self._folders[where].sync(places)
        if lost:
            self._require_lease()
            self._notes.add(lost, void=True)
            raise FileNotFoundError(errno.ENOENT, "what was written aside was taken away before it had its name")
        if touched:
            crash_site("files-named")

    def keep_originals(self, claimed: Mapping[int, str]) -> None:
        """Moves originals to the backup folder; where that is another mount, by copies that are durable first."""
        noted, copied = list[tuple[int, str]](), list[int]()
        for ordinal, path in claimed.items():
            if (ordinal, "original") in self._notes.drafts:
                noted.append((ordinal, "original"))
            elif not self._has_moved(path):
                with (
                    self._batch.opened_file(path) as original,
                    self.draft(ordinal, "original", "backup", path) as draft,
                ):
                    draft.copy(original)
                copied.append(ordinal)
        if not (noted or copied):
            return
        self.settle(noted)
        self._require_lease()
        for ordinal in (*copied, *(number for number, _ in noted)):
            with self._batch.opened_folder(claimed[ordinal]) as source, suppress(FileNotFoundError):
                if source is not None:
                    os.unlink(split(claimed[ordinal])[1], dir_fd=source)

    def _has_moved(self, claimed: str) -> bool:
        """Moves an original by a rename. False if the backup folder is another mount."""
        self._require_lease()
        with self._batch.opened_folder(claimed) as source:
            if source is None:
                return True
            try:
                self._backup.take(source, split(claimed)[1], claimed, self._mark)
            except FileNotFoundError:
                if self._batch.holds(claimed):
                    raise
            except OSError as problem:
                if problem.errno == errno.EXDEV:
                    return False
                raise
            return True

    def end(self) -> None:
        """Everything of the batch is published: what was only needed until then goes."""
        self._require_lease()
        crash_site("files-kept")
        self._published.keep(self._batch.root, results_of(self._notes.drafts.values()))
        # A folder that is away would bring the folder of the drafts back with it, which nobody would remove then. All are asked
        # before the first is changed, since a batch that is tried again takes what is missing for taken away.
        for folder in self._folders.values():
            with folder.open():
                pass
        for folder in self._folders.values():
            folder.forget(self._batch)
        self._batch.remove()

    def close(self) -> None:
        """Drafts are closed when they are written."""

    def _require_lease(self) -> None:
        if not self._is_ours():
            raise LeaseLost("another instance works on this folder now")


def results_of(noted: Iterable[Noted]) -> list[Result]:
    """The results among these, as `Published` knows them."""
    return [(one.size, bytes.fromhex(one.digest)) for one in noted if one.digest]
