"""Folders of the server: its own, and one for the socket where that one's path is too long."""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.postgres.account import Account

PORT = 5432  # only a part of the socket's name
# sockaddr_un holds 108 bytes with the closing zero.
MAX_SOCKET_PATH_BYTES = 107


def make_folder(folder: Path, account: Account) -> None:
    """Makes `folder` for the account alone. Folders above it are made with the defaults, and others' are left
    alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if account.switch and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


def socket_folder(folder: Path, account: Account) -> Path:
    """`folder` itself, or a short one where the socket's path does not fit into an address."""
    # A comma would end the name in a list of hosts, and nothing escapes it.
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
