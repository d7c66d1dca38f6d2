"""The folders of the server: its own one, and another one for the socket if the path of the first is too long."""

import hashlib
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.postgres.account import SHARED, Account
from batchseal.system.folders import Folder, is_sentence, look, open_folder
from batchseal.system.peers import peer_of
from batchseal.system.trust import Kind, user

PORT = 5432  # no TCP port, only a part of the socket's name
# The name that PostgreSQL gives to its socket. The name of the lock file beside it is the same with `.lock` at its end.
SOCKET = f".s.PGSQL.{PORT}"
# A sockaddr_un (unix(7)) holds 108 bytes, the closing zero included.
MAX_SOCKET_PATH_BYTES = 107
CONNECT_SECONDS = 5.0


def check_folders(folder: Path, account: Account) -> list[str]:
    """Judges the server's folder and what lies in it, and changes nothing. Returns what the operator should know.

    Raises ConfigurationError if somebody else may have prepared it: then the server would run on another one's data, or the
    account would be given what belongs to another one.
    """
    warnings = []
    if account.switch and account.name == SHARED:
        warnings.append(
            f"the embedded database runs as {SHARED}, as other programs may; make an account of its own for it"
            " (useradd --system batchseal) before it holds anything"
        )
    try:
        seen = look(folder.parent)
        if seen.refusal:
            raise ConfigurationError(seen.refusal)
        warnings += seen.warnings
        if seen.exists:
            with open_folder(seen.path) as above:
                if above.find(folder.name):
                    with above.folder(folder.name, also=(account.uid,)) as own:
                        verdict = own.judge({"data": Kind.FOLDER, "files": Kind.FOLDER, "lock": Kind.FILE})
                        if verdict.refusal:
                            raise ConfigurationError(verdict.refusal)
                        if account.switch and own.find("data"):
                            check_made_by_root(own, account)
                        warnings += [*own.warnings, *filter(None, (verdict.warning,))]
    except OSError as problem:
        raise refused(folder, problem) from None
    return warnings


def check_made_by_root(folder: Folder, account: Account) -> None:
    """Raises ConfigurationError for a folder of the account which no service of root has worked in.

    Such a service keeps its lock file there, which belongs to root. Without it the account itself may have made the folder, while
    it could write to the one around it.
    """
    lock = folder.find("lock")
    if folder.status().st_uid != 0 and not (lock and lock.uid == 0 and lock.names == 1):
        raise ConfigurationError(
            f"{folder.path} belongs to {user(account.uid)}, and nothing in it shows that root has made it: move it away, or, if"
            f" it is yours, give its lock file to root (chown 0 {folder.path}/lock)"
        )


def make_folder(folder: Path, account: Account) -> None:
    """Makes `folder`, which only the account may enter. One that exists is given to the account if it is root's.

    Missing folders above it are made with mode 755. Folders that exist above it stay as they are. Nothing is given away through a
    link: the folder is opened first, and then its owner and mode are changed. The folder around it is judged by `check_folders`.
    Raises ConfigurationError for a folder that may be somebody else's.
    """
    trusted = (account.uid,)
    try:
        with (
            open_folder(folder.parent, make=0o755, also=trusted, strict=False) as above,
            above.folder(folder.name, 0o700, also=trusted) as made,
            made.readable() as readable,
        ):
            if account.switch and os.fstat(readable.descriptor).st_uid != account.uid:
                os.fchown(readable.descriptor, account.uid, account.gid)
            os.fchmod(readable.descriptor, 0o700)
    except PermissionError as problem:
        raise refused(folder, problem) from None


def refused(folder: Path, problem: OSError) -> ConfigurationError:
    """What the operator reads if a rule, or the operating system, refuses a folder."""
    if is_sentence(problem):
        return ConfigurationError(str(problem.strerror))
    return ConfigurationError(f"{folder}: {problem.strerror}; choose another --temp-folder, or give it to this user")


def check_server(folder: Path, pid: int) -> None:
    """Raises DatabaseUnavailable if the socket in `folder` is not that of our server, the process `pid`.

    Raises OSError if nobody listens.
    """
    with open_folder(folder, strict=False) as opened, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_SECONDS)
        client.connect(opened.place_of(SOCKET))
        peer = peer_of(client.fileno())
    if peer.pid != pid:
        raise DatabaseUnavailable(f"another process ({peer.pid}, {user(peer.uid)}) listens at the socket in {folder}")


def socket_folder(folder: Path, account: Account) -> Path:
    """The folder for the socket: `folder` itself, or one with a short path if the socket's path does not fit into an address.

    Raises ConfigurationError if the short one exists and belongs to somebody else.
    """
    # In a DSN a comma separates hosts and cannot be escaped, so a path with a comma does not do either.
    path = os.fsencode(folder / SOCKET)
    if len(path) <= MAX_SOCKET_PATH_BYTES and b"," not in path:
        return folder
    short = Path("/tmp") / f"batchseal-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    with suppress(FileExistsError):
        short.mkdir(mode=0o700)
        if account.switch:
            os.chown(short, account.uid, account.gid, follow_symlinks=False)
    status = short.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or stat.S_IMODE(status.st_mode) != 0o700:
        raise ConfigurationError(
            f"{short} is not a folder of {account.name} alone: remove it, or use a shorter --temp-folder"
        )
    return short
