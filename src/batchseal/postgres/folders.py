"""The folders of the server: its own one, and another one for the socket if the path of the first is too long."""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.postgres.account import Account

PORT = 5432  # no TCP port, only a part of the socket's name
# A sockaddr_un (unix(7)) holds 108 bytes, the closing zero included.
MAX_SOCKET_PATH_BYTES = 107


def make_folder(folder: Path, account: Account) -> None:
    """Makes `folder`, which only the account may enter.

    Missing folders above it are made with the default mode. Folders that exist above it stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if account.switch and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


def socket_folder(folder: Path, account: Account) -> Path:
    """The folder for the socket: `folder` itself, or one with a short path if the socket's path does not fit into an address.

    Raises ConfigurationError if the short one exists and belongs to somebody else.
    """
    # In a DSN a comma separates hosts and cannot be escaped, so a path with a comma does not do either.
    path = os.fsencode(folder / f".s.PGSQL.{PORT}")
    if len(path) <= MAX_SOCKET_PATH_BYTES and b"," not in path:
        return folder
    short = Path("/tmp") / f"batchseal-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    with suppress(FileExistsError):
        short.mkdir(mode=0o700)
        if account.switch:
            os.chown(short, account.uid, account.gid)
    status = short.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or stat.S_IMODE(status.st_mode) != 0o700:
        raise ConfigurationError(
            f"{short} is not a folder of {account.name} alone: remove it, or use a shorter --temp-folder"
        )
    return short
