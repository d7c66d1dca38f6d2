"""The mount table of this process: where file systems are mounted, of which type, and by whom."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchseal.system.trust import Mount

MOUNT_TABLE = Path("/proc/self/mountinfo")
UNKNOWN = Mount("unknown")
OCTAL = re.compile(r"\\([0-7]{3})")
# FUSE tells in its options which user has mounted it.
MOUNTED_BY = re.compile(r"(?:^|,)user_id=(\d+)(?:,|$)")


@dataclass(frozen=True, slots=True)
class Mounts:
    """File systems by the path that they are mounted on: (type, user who has mounted it)."""

    table: Mapping[str, tuple[str, int | None]]

    @classmethod
    def read(cls) -> "Mounts":
        """The table of this process. Empty where there is none: then nothing counts as a mount point."""
        try:
            return cls(parse(MOUNT_TABLE.read_text("utf-8", "surrogateescape")))
        except OSError:
            return cls({})

    def is_point(self, path: str) -> bool:
        """Whether something is mounted on exactly this path, which holds no link. The root folder is no choice of anybody."""
        return path in self.table and path != "/"

    def point_of(self, path: str) -> str:
        """Where the file system is mounted that a path lies on: the path itself, or a folder above it. The path holds no link."""
        while path not in self.table and path != "/":
            path = os.path.dirname(path)
        return path

    def of(self, path: str) -> Mount:
        """The file system that a path lies on. The path holds no link."""
        point = self.point_of(path)
        if point not in self.table:
            return UNKNOWN
        type_, by = self.table[point]
        try:
            root = os.stat(point, follow_symlinks=False)
        except OSError:
            return Mount(type_, by=by)
        return Mount(type_, root.st_uid, root.st_mode & 0o7777, by)


def parse(text: str) -> dict[str, tuple[str, int | None]]:
    """The table in the format of proc_pid_mountinfo(5). Where two are mounted on one path, the later one is seen."""
    found = {}
    for line in text.splitlines():
        mounted, _, system = line.partition(" - ")
        fields, described = mounted.split(" "), system.split(" ")
        if len(fields) > 4 and len(described) > 2:
            by = MOUNTED_BY.search(described[2]) if described[0].startswith("fuse") else None
            found[OCTAL.sub(lambda m: chr(int(m[1], 8)), fields[4])] = described[0], int(by[1]) if by else None
    return found
