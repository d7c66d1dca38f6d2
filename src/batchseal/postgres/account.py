"""The account that the server runs as.

If the service does not run as root, the server runs as the same account. PostgreSQL refuses to run as root, so a service that is
root chooses an existing account: the owner of the data, else `batchseal`, else `postgres`, else `nobody`. The owner of the data
counts only in a folder that nobody but root can write to: whoever else could have made the data would choose its own account, and
every process of that account is a superuser of the database.

A folder above the data may not let that account pass, for example the home folder of root. Then the server gets one capability,
CAP_DAC_READ_SEARCH, with which it can read files and pass folders, but not write. The modes of other people's folders stay as
they are.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.system.folders import found_at, own_account
from batchseal.system.mounts import Mounts
from batchseal.system.trust import others_write, user

CAP_DAC_READ_SEARCH = 2
CAP_SETPCAP = 8
# The accounts that a service which is root may choose, the best one first. Others' processes run as the last one too.
SHARED = "nobody"
ACCOUNTS = ("batchseal", "postgres", SHARED)


@dataclass(frozen=True, slots=True)
class Account:
    """An existing account. `switch` says whether it is another one than the account of this process."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    switch: bool

    @property
    def identity(self) -> str:
        """The account as an argument of `launcher.py`."""
        return f"{self.uid}:{self.gid}:{','.join(map(str, self.groups))}" if self.switch else "same"

    def may(self, path: Path, bits: int) -> bool:
        """Whether the mode of `path` grants this account all of `bits` (4: read, 2: write, 1: pass the folder or run the
        program).
        """
        if self.uid == 0:
            return True
        status = path.stat()
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid == self.gid or status.st_gid in self.groups:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & bits == bits

    def reaches(self, path: Path) -> bool:
        """Whether the account may pass every folder above `path`."""
        return all(self.may(parent, 1) for parent in path.resolve().parents)


def account_of(uid: int, *, switch: bool) -> Account:
    """The account with this user id. Raises ConfigurationError if the system has no name for it."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"user {uid} has no name on this system, and PostgreSQL needs one:"
            " add it to /etc/passwd, or use --database-url"
        ) from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)) if switch else tuple(os.getgroups())
    gid = entry.pw_gid if switch else os.getegid()
    return Account(entry.pw_name, uid, gid, groups, switch)


def choose_account(folder: Path) -> Account:
    """The account for the server whose folder is `folder`. Raises ConfigurationError if there is none that can be used."""
    owner = owner_of(folder / "data")
    if os.geteuid() != 0:
        account = account_of(os.geteuid(), switch=False)
        if owner is not None and owner != account.uid:
            raise ConfigurationError(
                f"{folder / 'data'} belongs to {user(owner)}, and this service runs as {account.name}:"
                " run it as that user, or choose another --temp-folder"
            )
        return account
    if owner and not can_be_made_by_others(folder):
        return account_of(owner, switch=True)
    for name in ACCOUNTS:
        try:
            return account_of(pwd.getpwnam(name).pw_uid, switch=True)
        except KeyError:
            continue
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and there is no account for it: make one (useradd --system batchseal),"
        " or use --database-url"
    )


def owner_of(path: Path) -> int | None:
    """Who owns what is at the path, which is not followed. None if nothing is there."""
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def can_be_made_by_others(folder: Path) -> bool:
    """Whether somebody other than root can have made this folder: by the owner and the mode of the one around it."""
    try:
        status = folder.parent.stat()
    except OSError:
        return False
    around = found_at(str(folder.parent), status, Mounts.read())
    return around.uid != 0 or others_write(around, own_account())


def may_pass_folders() -> bool:
    """Whether this process can give CAP_DAC_READ_SEARCH to a child: it must have it, and be allowed to change its secure bits."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return all(held >> capability & 1 for capability in (CAP_DAC_READ_SEARCH, CAP_SETPCAP))
    return False


def check_reachable(account: Account, folder: Path) -> bool:
    """Whether the account needs the capability to reach `folder`.

    Raises ConfigurationError if it needs the capability and this process cannot give it.
    """
    if account.reaches(folder):
        return False
    closed = next(p for p in reversed(folder.resolve().parents) if not account.may(p, 1))
    if not account.switch or not may_pass_folders():
        raise ConfigurationError(
            f"the database runs as {account.name}, who may not enter {closed}"
            f" (mode {stat.S_IMODE(closed.stat().st_mode):o}):"
            " choose another --temp-folder, or let others pass it (chmod o+x)"
        )
    return True
