"""Who the server runs as: PostgreSQL refuses root, and nothing here creates an account.

Not root: ourselves. Root: the owner of the data, or of the folder around it; else `postgres`, else `nobody`.
Where a folder above the data keeps that account out (root's own home, `mktemp -d`), the server gets one
capability that lets it pass: CAP_DAC_READ_SEARCH, which reads and traverses but never writes. No folder of
anybody else is changed.
"""

import ctypes
import os
import pwd
import signal
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchseal.errors import ConfigurationError

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 2
CAP_SETPCAP = 8
SECBIT_NO_SETUID_FIXUP = 1 << 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


@dataclass(frozen=True, slots=True)
class Account:
    """An existing account, and whether it is another than the process's own."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    switch: bool

    def may(self, path: Path, bits: int) -> bool:
        """Whether the mode of `path` gives this account all of `bits`: 4 read, 2 write, 1 search or run."""
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
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"user {uid} has no name on this system, and PostgreSQL wants one:"
            " add it to /etc/passwd, or use --database-url"
        ) from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)) if switch else tuple(os.getgroups())
    gid = entry.pw_gid if switch else os.getegid()
    return Account(entry.pw_name, uid, gid, groups, switch)


def choose_account(folder: Path) -> Account:
    """The account for the server in `folder`. Raises ConfigurationError where there is none."""
    data = folder / "data"
    if os.geteuid() != 0:
        account = account_of(os.geteuid(), switch=False)
        if data.exists() and data.stat().st_uid != account.uid:
            raise ConfigurationError(
                f"{data} belongs to user {data.stat().st_uid}, this service runs as {account.name}"
            )
        return account
    for owned in (data, folder.parent):
        if owned.exists() and (owner := owned.stat().st_uid) != 0:
            return account_of(owner, switch=True)
    for name in ("postgres", "nobody"):
        try:
            return account_of(pwd.getpwnam(name).pw_uid, switch=True)
        except KeyError:
            continue
    raise ConfigurationError("PostgreSQL refuses to run as root, and there is no account named postgres or nobody")


def may_pass_folders() -> bool:
    """Whether this process can hand CAP_DAC_READ_SEARCH on: it holds that one, and may change its secure bits."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return all(held >> capability & 1 for capability in (CAP_DAC_READ_SEARCH, CAP_SETPCAP))
    return False


def check_reachable(account: Account, folder: Path) -> bool:
    """Whether the account needs the capability to get to `folder`. Raises ConfigurationError where that
    cannot be had.
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


def become(account: Account, *, pass_folders: bool, parent_pid: int) -> Callable[[], None]:
    """What a child does between fork and exec: its own process group (a terminal's Ctrl-C is ours to handle),
    the account's identity, and SIGINT (fast shutdown) from the kernel when the thread that started it is
    gone.
    """

    def prepare() -> None:
        os.setpgid(0, 0)
        if account.switch:
            if pass_folders:
                # Else a new identity drops all capabilities, and access(2), which PostgreSQL asks, ignores them.
                _call("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
            os.setgroups(account.groups)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
            if pass_folders:
                _keep_only_read_search()
        os.umask(0o077)
        # After the identity, whose change clears it.
        _call("prctl", PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return prepare


def _keep_only_read_search() -> None:
    """Drops every capability but one, and makes that one outlive exec. capset(2): two 32-bit words of each
    set.
    """
    bit = 1 << CAP_DAC_READ_SEARCH
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", bit, bit, bit, 0, 0, 0))
    _call("capset", header, sets)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
