"""Files and folders below a folder that others write to: each is reached relative to an open folder, and no link is followed.

Names are text as the operating system's own functions give it (PEP 383), so that every name which Linux allows comes back as it
was. Paths are relative, with `/` between their parts.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe must not wait for its other end.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# No name of a file below a folder.
OUTWARD = (".", "..")
# Deeper folders are left alone.
MOST_DEPTH = 64
RENAME_NOREPLACE = 1  # linux/fs.h
# What a file system answers that cannot do something at all.
CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EBADF)
COPIED_BYTES = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """A regular file as it was seen. `change_ns` is the time of its last change of any kind, which nobody can set."""

    path: str
    size: int
    modified_ns: int
    change_ns: int
    inode: int

    def is_same(self, other: "Seen | None") -> bool:
        """Whether nobody has changed it since `other` was seen."""
        return self == other


def seen(path: str, status: os.stat_result) -> Seen:
    return Seen(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@contextmanager
def opened(path: "str | os.PathLike[str]", flags: int = FOLDER, dir_fd: int | None = None) -> Iterator[int]:
    """Opens a folder or a file for the block."""
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def split(path: str) -> tuple[str, str]:
    """The folder of a relative path, which may be empty, and its last part."""
    folder, _, name = path.rpartition("/")
    return folder, name


def with_those_above(folder: str) -> Iterator[str]:
    """The relative path of a folder, and those of the folders above it, the root folder with its empty path last."""
    while folder:
        yield folder
        folder = split(folder)[0]
    yield ""


@contextmanager
def opened_below(root: int, folder: str, make: Callable[[int, str], None] | None = None) -> Iterator[int]:
    """Opens the folder with this relative path. `make` makes one that is missing, given the folder above it and its name.

    Raises OSError (EINVAL) for a path that leads out. Paths are read from lists and notes too, and whoever may write to an input
    folder can put a folder of their own in the place of the one that has these.
    """
    descriptor = os.dup(root)
    try:
        for name in filter(None, folder.split("/")):
            if name in OUTWARD:
                raise OSError(errno.EINVAL, "the path leads out of its folder", folder)
            below = _open_folder(descriptor, name, make)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(above: int, name: str, make: Callable[[int, str], None] | None) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=above)
    except FileNotFoundError:
        if make is None:
            raise
    with suppress(FileExistsError):
        make(above, name)
    return os.open(name, FOLDER, dir_fd=above)


def make_private(above: int, name: str) -> None:
    """Makes a folder for this account alone."""
    os.mkdir(name, 0o700, dir_fd=above)


def walk(root: int, is_ignored: Callable[[str], bool]) -> Iterator[Seen]:
    """All regular files below an open folder whose names, and the names of their folders, are not ignored. Links are left alone.

    A folder that is another mount is left alone too: a file there could not be renamed into a folder beside it.
    """
    device = os.fstat(root).st_dev
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with opened_below(root, folder) as descriptor:
                if os.fstat(descriptor).st_dev != device:
                    continue
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        if is_ignored(entry.name):
                            continue
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if depth < MOST_DEPTH:
                                waiting.append((path, depth + 1))
                        elif entry.is_file(follow_symlinks=False):
                            with suppress(FileNotFoundError):
                                yield seen(path, entry.stat(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            if not folder:
                raise
        except OSError as problem:  # a link has taken the place of the folder
            if not folder or problem.errno != errno.ELOOP:
                raise


def names_below(above: int, folder: str = "") -> Iterator[str]:
    """The paths of everything below an open folder that is no folder itself: links and pipes too."""
    with suppress(FileNotFoundError), opened_below(above, folder) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from names_below(above, path)
            else:
                yield path


def look_at(root: int, path: str) -> Seen | None:
    """The file as it is now; None if there is none, or no regular file."""
    folder, name = split(path)
    try:
        with opened_below(root, folder) as descriptor:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    return seen(path, status) if stat.S_ISREG(status.st_mode) else None


def rename_by_kernel(source: int, name: str, target: int, new_name: str) -> int:
    """renameat2(2) with RENAME_NOREPLACE. Returns the number of the error, 0 for none."""
    done = _libc.renameat2(source, os.fsencode(name), target, os.fsencode(new_name), RENAME_NOREPLACE)
    return 0 if done == 0 else ctypes.get_errno()


def rename_new(source: int, name: str, target: int, new_name: str) -> None:
    """Renames a file to a name that nothing has. Raises FileExistsError, and never replaces anything.

    Some file systems know no such rename. Then a second name is made; where that is not known either, the name is reserved.
    """
    problem = rename_by_kernel(source, name, target, new_name)
    if problem == 0:
        return
    if problem not in CANNOT:
        raise OSError(problem, os.strerror(problem), new_name)
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        # The process may have ended before the first name was removed, or the answer of a server was lost.
        if not _are_one(source, name, target, new_name):
            raise
    except OSError as refused:
        if refused.errno not in (*CANNOT, errno.EMLINK):
            raise
        os.close(os.open(new_name, NEW, 0o600, dir_fd=target))
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
        return
    os.unlink(name, dir_fd=source)


def _are_one(source: int, name: str, target: int, new_name: str) -> bool:
    """Whether these are two names of one file."""
    one = os.stat(name, dir_fd=source, follow_symlinks=False)
    other = os.stat(new_name, dir_fd=target, follow_symlinks=False)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def sync_folder(descriptor: int) -> None:
    """Fsyncs the names in a folder, where the file system can do that."""
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in CANNOT:
            raise


def write_all(descriptor: int, content: "bytes | memoryview") -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def read_all(descriptor: int, most_bytes: int) -> bytes:
    content = bytearray()
    while len(content) <= most_bytes and (block := os.read(descriptor, 1 << 20)):
        content += block
    return bytes(content)


def copy(source: int, target: int) -> None:
    """Copies the content of an open file, and its times."""
    os.lseek(source, 0, os.SEEK_SET)
    while block := os.read(source, COPIED_BYTES):
        write_all(target, block)
    status = os.fstat(source)
    with suppress(OSError):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def remove_tree(above: int, name: str) -> None:
    """Removes a folder and the files in it that are ours. Does nothing if there is none."""
    with suppress(FileNotFoundError), opened(name, dir_fd=above) as folder:
        for entry in os.listdir(folder):
            try:
                os.unlink(entry, dir_fd=folder)
            except IsADirectoryError:
                remove_tree(folder, entry)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=above)


def remove_empty_folders(above: int, name: str) -> None:
    """Removes a folder with the folders in it, as far as they hold no files. Raises OSError (ENOTEMPTY) if one does."""
    with suppress(FileNotFoundError), opened(name, dir_fd=above) as folder:
        for entry in os.listdir(folder):
            remove_empty_folders(folder, entry)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=above)
