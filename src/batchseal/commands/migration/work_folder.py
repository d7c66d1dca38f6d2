"""Reads the original's work folder: its client services, and what else lies in it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import SAFE_SECRET_CHARACTERS
from batchseal.settings.services_files import FILE_NAME, OWN_FILE_NAME, read_config

FOLDERS = ("inputFolder", "backupFolder", "outputFolder")
# Files that hold what the original had under way: its own database.
DATABASE_SUFFIXES = (".mv.db", ".h2.db", ".trace.db", ".db", ".sqlite")
MOST_LISTED = 10


@dataclass(slots=True)
class WorkFolder:
    """What was found. `problem` says why the file of client services cannot be used."""

    path: Path
    problem: str = ""
    client_services: list[str] = field(default_factory=list)
    short_secrets: list[str] = field(default_factory=list)
    hot_folders: dict[str, dict[str, Path]] = field(default_factory=dict)  # by client service and key
    waiting: dict[str, int] = field(default_factory=dict)  # files in the input folder, by client service
    databases: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # what this product does not read
    closed: list[str] = field(default_factory=list)  # what the user of the container cannot read


def read_work_folder(path: Path, user: int) -> WorkFolder:
    """What lies in the folder. `user` is the one that the service will run as. Changes nothing."""
    found = WorkFolder(path)
    if not path.is_dir():
        found.problem = f"{path} is not a folder here"
        return found
    file = path / FILE_NAME
    if not file.exists():
        found.problem = (
            f"{file} does not exist: the original then takes synchronous requests alone, and so does this one"
        )
    else:
        try:
            read = read_config(file)
        except ConfigurationError as problem:
            found.problem = problem.cause
        else:
            found.client_services = list(read)
            found.short_secrets = [n for n, entry in read.items() if len(entry["secret"]) < SAFE_SECRET_CHARACTERS]
            _read_hot_folders(found, file)
    found.closed = list(_closed(path, file, user))
    for entry in sorted(path.iterdir()):
        if entry.name in (FILE_NAME, OWN_FILE_NAME) or _is_hot_folder(entry, found):
            continue
        databases = entry.name.endswith(DATABASE_SUFFIXES)
        (found.databases if databases else found.unread).append(entry.name)
    return found


def _read_hot_folders(found: WorkFolder, file: Path) -> None:
    import json

    for name, entry in json.loads(file.read_bytes()).items():
        folders = {key: found.path / entry[key] for key in FOLDERS if isinstance(entry.get(key), str) and entry[key]}
        if folders:
            found.hot_folders[name] = folders
            source = folders.get("inputFolder")
            if source is not None and source.is_dir():
                found.waiting[name] = sum(one.is_file() for one in source.rglob("*"))


def _is_hot_folder(entry: Path, found: WorkFolder) -> bool:
    return any(
        entry == one or entry in one.parents for folders in found.hot_folders.values() for one in folders.values()
    )


def _closed(folder: Path, file: Path, user: int) -> Iterator[str]:
    """What this user cannot read, by the modes: the check may run as another one."""
    for path, needed in ((folder, stat.S_IXOTH), (file, stat.S_IROTH)):
        try:
            status = path.stat()
        except OSError:
            continue
        owner = needed << 6
        if not (status.st_mode & needed or (status.st_uid == user and status.st_mode & owner) or user == 0):
            yield f"{path} (mode {status.st_mode & 0o777:o}, of user {status.st_uid}; this process is user {os.getuid()})"


def overlapping(hot_folders: dict[str, dict[str, Path]]) -> list[str]:
    """Folders that lie in each other, or are the same one."""
    named = [
        (f"{key} of {name}", Path(os.path.realpath(path)))
        for name, keys in hot_folders.items()
        for key, path in keys.items()
    ]
    return [
        f"{one} and {other}"
        for number, (one, path) in enumerate(named)
        for other, beside in named[number + 1 :]
        if path == beside or path in beside.parents or beside in path.parents
    ]
