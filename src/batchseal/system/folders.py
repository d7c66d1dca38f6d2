"""Opens folders that were checked (`trust.py`), and files in them: relative to the open folder, without following a link.

    with open_folder(path, make=0o711) as folder:
        descriptor = folder.open("lock", os.O_RDWR | os.O_CREAT)

Every step of the path is looked at by itself, relative to the step before. What was judged is therefore what is used, whatever
others rename meanwhile. A refusal is a PermissionError whose `strerror` is a sentence that says what to do; until it is raised
nothing was made, changed or removed.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from batchseal.system.acl import writers_of
from batchseal.system.mounts import Mounts
from batchseal.system.trust import (
    UNNAMED,
    Found,
    Kind,
    Mount,
    Own,
    Verdict,
    judge_entry,
    judge_folder,
    judge_way,
)

WALKED = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe that somebody has put there must not wait. It changes nothing for regular files.
# SAFE is for every file that is opened in a checked folder.
SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
# Linux follows at most so many links in one path (path_resolution(7)).
MOST_LINKS = 40
UID_MAP = Path("/proc/self/uid_map")


@dataclass(frozen=True, slots=True)
class Look:
    """What was found on the way to a folder. `refusal` is empty if it may be used, now or once it is made."""

    path: Path  # without links, as far as it exists
    exists: bool
    refusal: str
    warnings: tuple[str, ...]


class Folder:
    """An open folder that was checked. To be closed; a context."""

    def __init__(self, path: Path, descriptor: int, own: Own, warnings: Collection[str] = ()) -> None:
        self.path = path
        self.descriptor = descriptor
        self.warnings = tuple(dict.fromkeys(warnings))
        self._own = own

    def __enter__(self) -> "Folder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)

    def status(self) -> os.stat_result:
        """Owner and mode of the folder itself, as they are now."""
        return os.fstat(self.descriptor)

    def find(self, name: str) -> Found | None:
        """What lies under a name, without following it. None if there is nothing."""
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found_at(str(self.path / name), status, Mounts.read())

    def judge(self, wanted: Mapping[str, Kind], written: Collection[str] = ()) -> Verdict:
        """Judges what lies under these names: the first refusal, else the first warning."""
        warning = Verdict()
        for name, kind in wanted.items():
            if found := self.find(name):
                verdict = judge_entry(found, kind, self._own, written=name in written)
                if verdict.refusal:
                    return verdict
                warning = warning if warning.warning else verdict
        return warning

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Opens a file of our own and returns its descriptor. The umask applies to `mode`.

        Raises PermissionError for anything but a regular file, and for one that belongs to a foreign user or has another name.
        """
        try:
            descriptor = os.open(name, flags & ~os.O_TRUNC | SAFE, mode, dir_fd=self.descriptor)
        except OSError as problem:
            self._explain(problem, name, Kind.FILE)
            raise
        try:
            status = os.fstat(descriptor)
            if not is_own_file(status):
                verdict = judge_entry(
                    found_at(str(self.path / name), status, Mounts.read()),
                    Kind.FILE,
                    self._own,
                    written=flags & (os.O_WRONLY | os.O_RDWR) != 0,
                )
                refuse(verdict, self.path / name)
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def folder(self, name: str, make: int | None = None, also: Collection[int] = ()) -> "Folder":
        """Opens a folder in this one, which is made with the mode `make` if it is missing. `also` are further owners to trust.

        Raises PermissionError for anything but a folder of our own, FileNotFoundError if it is missing and not to be made.
        """
        own = replace(self._own, also=frozenset(also)) if also else self._own
        if make is not None:
            with suppress(FileExistsError):
                os.mkdir(name, make, dir_fd=self.descriptor)
        try:
            descriptor = os.open(name, WALKED, dir_fd=self.descriptor)
        except OSError as problem:
            self._explain(problem, name, Kind.FOLDER)
            raise
        try:
            found = found_at(str(self.path / name), os.fstat(descriptor), Mounts.read())
            verdict = judge_entry(found, Kind.FOLDER, own)
            refuse(verdict, self.path / name)
        except BaseException:
            os.close(descriptor)
            raise
        return Folder(self.path / name, descriptor, own, (verdict.warning,) if verdict.warning else ())

    def _explain(self, problem: OSError, name: str, wanted: Kind) -> None:
        """Raises PermissionError with a sentence where something of another kind is the reason of an error."""
        if problem.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR) and (found := self.find(name)):
            refuse(judge_entry(found, wanted, self._own), self.path / name)

    def names(self) -> list[str]:
        """The names of all that lies in it."""
        with self.readable() as readable:
            return os.listdir(readable.descriptor)

    def readable(self) -> "Folder":
        """The same folder, open for reading: to list it, to sync it, or to change its owner and mode."""
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.descriptor)
        return Folder(self.path, descriptor, self._own, self.warnings)

    def sync(self) -> None:
        """Fsyncs the names in it."""
        with self.readable() as readable:
            os.fsync(readable.descriptor)

    def sync_if_allowed(self) -> None:
        """The same, where this account may read the folder: where it may not, it has made nothing in it."""
        with suppress(PermissionError):
            self.sync()

    def remove(self, name: str) -> None:
        """Removes a file, a link or a socket. Does nothing if there is none."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def place_of(self, name: str) -> str:
        """A path that means this name in this folder, whatever the folder is called, while the folder is open.

        It is for calls that take no folder, and it is short: the address of a socket holds 107 bytes.
        """
        return f"/proc/self/fd/{self.descriptor}/{name}"


def look(path: Path, wanted: Mapping[str, Kind] | None = None, written: Collection[str] = ()) -> Look:
    """Looks at a folder as `open_folder` does, and at what lies in it under the names of `wanted`. Changes nothing.

    Raises OSError where the operating system refuses to look.
    """
    walk = Walk(path, own_account())
    try:
        verdict = Verdict()
        if wanted and not walk.missing and not walk.refusal:
            verdict = Folder(walk.path, walk.descriptor, walk.own).judge(wanted, written)
        found = [*walk.warnings, *((verdict.warning,) if verdict.warning else ())]
        refusal = walk.refusal or verdict.refusal
        return Look(walk.path, not walk.missing and not walk.refusal, refusal, tuple(dict.fromkeys(found)))
    finally:
        os.close(walk.descriptor)


def open_folder(path: Path, *, make: int | None = None, also: Collection[int] = (), strict: bool = True) -> Folder:
    """Opens a folder, after each step of its path was judged.

    With `make`, a missing one is made with this mode, and missing folders above it with mode 755; the umask applies. `also` are
    owners to trust beside root and this account. Without `strict`, the operator has chosen the path for this one purpose: then
    what others could rename on the way is accepted, and still no link is followed that they can have made.

    Raises PermissionError for a refusal, FileNotFoundError if it is missing and not to be made, OSError.
    """
    walk = Walk(path, own_account(also), strict=strict)
    descriptor, here = walk.descriptor, walk.path
    try:
        refuse(Verdict(walk.refusal), here)
        if walk.missing and make is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        for number, name in enumerate(walk.missing, 1):
            mode = make if number == len(walk.missing) and make is not None else 0o755
            with Folder(here, os.dup(descriptor), walk.own) as above:
                below = above.folder(name, mode)
                above.sync_if_allowed()
            os.close(descriptor)
            descriptor, here = below.descriptor, below.path
    except BaseException:
        os.close(descriptor)
        raise
    return Folder(here, descriptor, walk.own, walk.warnings)


@contextmanager
def own_folder(path: Path) -> Iterator[int]:
    """Opens a folder that was judged at the start, for files that are opened often. Gives its descriptor for the block.

    Raises OSError if it is a link now, PermissionError if it is another one by its owner or mode.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            verdict = judge_entry(found_at(str(path), status, Mounts.read()), Kind.FOLDER, own_account())
            if verdict.refusal:  # callers over HTTP may read the sentence, so it names no path
                raise PermissionError(errno.EPERM, "the folder is not the service's own any more", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


class Walk:
    """Goes along a path and judges each step, up to the first refusal or the first name that is missing.

    `descriptor` is the last folder that it came to, which the caller closes, and `path` is where that is.
    """

    def __init__(self, path: Path, own: Own, *, strict: bool = True) -> None:
        self.own = own
        self.refusal = ""
        self.warnings: list[str] = []
        self.missing: tuple[str, ...] = ()
        self.path = Path("/")
        self.descriptor = os.open("/", WALKED)
        self._strict = strict
        self._mounts = Mounts.read()
        self._links = 0
        self._above = self._seen("/", os.fstat(self.descriptor))
        try:
            self._go(deque(part for part in path.absolute().parts[1:] if part != "."))
        except BaseException:
            os.close(self.descriptor)
            raise

    def _go(self, left: "deque[str]") -> None:
        while left and not self.refusal:
            name = left.popleft()
            if name == "..":
                self._enter(name, self.path.parent)
                continue
            try:
                status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                self.missing = (name, *left)
                return
            here = self.path / name
            found = self._seen(str(here), status)
            if left or found.kind is Kind.LINK:
                self._take(judge_way(found, self._above, self.own), found)
            else:
                self._take(judge_folder(found, self.own), found)
            if self.refusal:
                return
            if found.kind is Kind.LINK:
                self._follow(name, left)
            else:
                self._enter(name, here)
        if not self.refusal:  # the last step may have been a link to the root folder, or `..`
            self._take(judge_folder(self._above, self.own), self._above)

    def _take(self, verdict: Verdict, found: Found) -> None:
        if verdict.refusal and (self._strict or found.kind is not Kind.FOLDER):
            self.refusal = verdict.refusal
        if verdict.warning:
            self.warnings.append(verdict.warning)

    def _follow(self, name: str, left: "deque[str]") -> None:
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(self.path / name))
        target = Path(os.readlink(name, dir_fd=self.descriptor))
        left.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        if target.is_absolute():
            self._enter("/", Path("/"))

    def _enter(self, name: str, here: Path) -> None:
        descriptor = os.open(name, WALKED, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor, self.path = descriptor, here
        self._above = self._seen(str(here), os.fstat(descriptor))

    def _seen(self, path: str, status: os.stat_result) -> Found:
        return found_at(path, status, self._mounts)


def found_at(path: str, status: os.stat_result, mounts: Mounts) -> Found:
    """The facts of a path. The mount table is asked only for what is not plainly ours or root's alone."""
    kind = kind_of(status.st_mode)
    mode = stat.S_IMODE(status.st_mode)
    plain = status.st_uid in (0, os.geteuid()) and not mode & (stat.S_IWGRP | stat.S_IWOTH)
    mount = mounts.of(path)
    return Found(
        path,
        kind,
        status.st_uid,
        status.st_gid,
        mode,
        names=status.st_nlink,
        is_mount_point=not plain and mounts.is_point(path),
        granted=()
        if plain or kind is Kind.LINK
        else writers_of(path),  # a list shows its mask in the bits of the group
        mount=mount if mount.by is not None or not plain else Mount(mount.type),
    )


def kind_of(mode: int) -> Kind:
    """What the mode of `stat` says of its kind."""
    tests = {Kind.FOLDER: stat.S_ISDIR, Kind.LINK: stat.S_ISLNK, Kind.FILE: stat.S_ISREG, Kind.SOCKET: stat.S_ISSOCK}
    return next((kind for kind, test in tests.items() if test(mode)), Kind.OTHER)


def is_own_file(status: os.stat_result) -> bool:
    """Whether it is plainly a file of this account alone, so that nothing has to be asked."""
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and status.st_nlink == 1
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def own_account(also: Collection[int] = ()) -> Own:
    """The account of this process, and further owners that it trusts."""
    groups = frozenset((os.getegid(), *os.getgroups()))
    return Own(os.geteuid(), groups, frozenset(also), hides_owners(UID_MAP))


def hides_owners(uid_map: Path) -> bool:
    """Whether this user namespace shows unknown owners as 65534, and nobody in it is 65534 (user_namespaces(7))."""
    try:
        ranges = [tuple(map(int, line.split())) for line in uid_map.read_text("ascii").splitlines()]
    except (OSError, ValueError):
        return False
    return bool(ranges) and not any(first <= unnamed < first + size for first, _, size in ranges for unnamed in UNNAMED)


def refuse(verdict: Verdict, path: Path) -> None:
    """Raises PermissionError with the sentence of a refusal, if it is one."""
    if verdict.refusal:
        raise PermissionError(errno.EPERM, verdict.refusal, str(path))


def is_sentence(problem: OSError) -> bool:
    """Whether an error is a refusal of this module, whose `strerror` names the path and says what to do."""
    return problem.errno == errno.EPERM and problem.strerror != os.strerror(errno.EPERM)
