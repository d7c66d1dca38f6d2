"""The folders of an instance: where the temp folder is, whether it may be used, and how it is made. Changes nothing before that.

The rules are in `system/trust.py`. They hold for the temp folder and all that lies in it under a name of ours. The work folder is
only read, so it may have any owner and mode, and what is odd about it is said.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.postgres.account import choose_account
from batchseal.postgres.folders import check_folders
from batchseal.processes.instance import instance_identity, open_lock, take_lock
from batchseal.settings.load import Settings
from batchseal.system.folders import Folder, found_at, is_sentence, look, open_folder, own_account
from batchseal.system.mounts import Mounts
from batchseal.system.trust import Kind, judge_owner, others_write, user, writers
from batchseal.system.waits import say

# Where earlier releases kept everything if nobody named another folder. The container still does, by its own setting.
EARLIER_DEFAULT = Path("/tmp/batchseal")
FOLDERS = ("spill", "sandbox", "metrics")
# What the service keeps in the temp folder. The folder of the embedded database has rules of its own (postgres/folders.py).
ENTRIES = {
    **dict.fromkeys((*FOLDERS, "audit"), Kind.FOLDER),
    **dict.fromkeys(("lock", "instance-id", "token.key", "attempts"), Kind.FILE),
    **dict.fromkeys(("admission.ledger", "database.url", "pkcs11.lock"), Kind.FILE),
    "signer.sock": Kind.SOCKET,
}
WRITTEN_IN_PLACE = frozenset(("lock", "attempts", "admission.ledger", "pkcs11.lock"))
DATABASE = "postgres"
# A file that stands in the temp folder until all of a backup was restored into it.
RESTORING = "restore-unfinished"


def settle(settings: Settings, earlier: Path = EARLIER_DEFAULT, tell: Callable[[str], None] = say) -> Settings:
    """The settings with the temp folder that is to be used, if nobody has named one.

    An instance that an earlier release has left in its default folder is used there. To begin with an empty database beside it
    would free all its external references, and the same documents could be signed again. Raises ConfigurationError if that folder
    cannot be used as it is.
    """
    folder = settings.temp_folder
    if not settings.temp_folder_is_default or holds_instance(folder) or not is_ours(earlier):
        return settings
    move = f"stop the service, then: mkdir -p {folder.parent} && mv {earlier} {folder}"
    try:
        check_temp_folder(earlier)
    except ConfigurationError as problem:
        raise ConfigurationError(
            f"an earlier release may have left its database in {earlier}, which cannot be used as it is: {problem.cause}."
            f" If it is yours, mend that, and move it ({move}). If it is not, name a folder with --temp-folder={folder}"
        ) from None
    tell(f"the database of an earlier release is in {earlier} and is used there; to move it, {move}")
    return replace(settings, temp_folder=earlier)


def holds_instance(folder: Path) -> bool:
    """Whether an instance has worked in this folder."""
    return any(os.path.lexists(folder / name) for name in ("instance-id", f"{DATABASE}/data"))


def is_ours(folder: Path) -> bool:
    """Whether the folder holds an instance that may be this one: its owner is this user or root.

    A service of root ran in folders of any owner, so root has to look at what it is.
    """
    try:
        owner = folder.lstat().st_uid
    except OSError:
        return False
    return holds_instance(folder) and (owner in (0, os.geteuid()) or os.geteuid() == 0)


def check_temp_folder(folder: Path, *, embedded: bool = True) -> list[str]:
    """Judges the temp folder and what lies in it, and changes nothing. Returns what the operator should know.

    `embedded`: the embedded database is used. Raises ConfigurationError with what to do.
    """
    try:
        seen = look(folder, ENTRIES, WRITTEN_IN_PLACE)
    except OSError as problem:
        raise unusable(folder, problem) from None
    if seen.refusal:
        raise ConfigurationError(f"--temp-folder: {seen.refusal}")
    warnings = list(seen.warnings)
    if embedded and seen.exists:
        database = seen.path / DATABASE
        warnings += check_folders(database, choose_account(database))
    return list(dict.fromkeys(warnings))


def prepare(settings: Settings) -> tuple[Settings, int]:
    """Makes the temp folder with its folders, and takes its lock.

    Returns the settings with what was found out, and the descriptor that holds the lock. Raises ConfigurationError.
    """
    if os.path.lexists(settings.temp_folder / RESTORING):
        raise ConfigurationError(
            f"--temp-folder {settings.temp_folder}: a restore into this folder was not finished; empty it, and restore again"
        )
    for warning in check_temp_folder(settings.temp_folder, embedded=settings.has_embedded_database):
        say(warning)
    lock = -1
    try:
        # The account of the embedded database must pass this folder. Each folder below it is for its owner only.
        with open_folder(settings.temp_folder, make=0o711) as temp:
            path = temp.path
            for name in FOLDERS:
                temp.folder(name, 0o700).close()
            lock = open_lock(path)
            take_lock(lock, path)
            clear(temp, settings.metrics_folder.name)
        return replace(settings, temp_folder=path), lock
    except BaseException as problem:
        if lock >= 0:
            os.close(lock)
        if isinstance(problem, OSError):
            raise unusable(settings.temp_folder, problem) from None
        raise


def find_identity(temp_folder: Path) -> str:
    """The identity of the instance in this folder (see `instance.py`). Raises ConfigurationError."""
    try:
        return str(instance_identity(temp_folder))
    except OSError as problem:
        raise unusable(temp_folder, problem) from None


def clear(folder: Folder, name: str) -> None:
    """Removes the files in a folder of this one."""
    with folder.folder(name) as below:
        for file in below.names():
            below.remove(file)


def unusable(folder: Path, problem: OSError) -> ConfigurationError:
    """What the operator reads if the operating system, or a rule, refuses the temp folder."""
    if is_sentence(problem):
        return ConfigurationError(f"--temp-folder: {problem.strerror}")
    return ConfigurationError(
        f"--temp-folder {folder}: {problem.strerror}; give this user (uid {os.getuid()}) a folder that it can write to; "
        "if another product has made the volume, chown it once"
    )


def remarks_on_work_folder(folder: Path, *files: Path) -> Iterator[str]:
    """What is odd about the folder that is only read, and about the files of the client services."""
    own, mounts = own_account(), Mounts.read()
    for path in (folder, *files):
        with suppress(OSError):
            found = found_at(str(path.absolute()), path.stat(), mounts)
            if judge_owner(found, own).refusal:
                yield f"{path} belongs to {user(found.uid)}, who can change who may sign"
            elif others_write(found, own):
                yield f"{path} can be written by {writers(found)}, who can change who may sign"
