"""Who could have prepared a folder: the rules, over facts that `folders.py` has found. Nothing here touches a file.

A folder is trusted if nobody but root and this account can have put something into it, or something else in its place. So the
rules look at each folder on the way to it, at the folder, and at what lies in it.

- Owners: root and this account. A group that this account is in may have write access: whoever runs the service chose it.
- Where others have write access, they can have made anything that lies there. So no link is followed from there. If the folder
  is not sticky they can also rename what lies there, so it cannot hold ours.
- The other side of a mount is the choice of whoever mounted it. A mount point is accepted with a warning where a plain folder
  would be refused, but not one of a foreign owner as the folder itself.
- Some file systems show one owner and one mode for everything (FAT, SMB, drives of a Windows host), and NFS may show `nobody` for
  this account. What they show says nothing, so it is accepted with a warning.
"""

import grp
import pwd
import stat
from dataclasses import dataclass, field
from enum import StrEnum

# File systems that may show one owner and one mode for everything: SMB, FAT, NTFS, and the folders that desktop virtual machines
# share with their host. Those of FUSE have names such as `fuse.vmhgfs-fuse`.
SHARED_ALIKE = (
    "9p",
    "cifs",
    "smb3",
    "smbfs",
    "drvfs",
    "fakeowner",
    "grpcfuse",
    "osxfs",
    "virtiofs",
    "vboxsf",
    "vmhgfs",
    "prl_fs",
)
ALIKE = frozenset((*SHARED_ALIKE, "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk"))
NFS = frozenset(("nfs", "nfs4"))
# How the kernel and NFS show an owner that they cannot name (overflowuid, and -2 in 32 bits).
UNNAMED = frozenset((65534, 0xFFFF_FFFE))
GROUP_WRITES, OTHERS_WRITE = stat.S_IWGRP, stat.S_IWOTH


class Kind(StrEnum):
    """What lies under a name. The values stand in sentences."""

    FOLDER = "a folder"
    LINK = "a symbolic link"
    FILE = "a file"
    SOCKET = "a socket"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Mount:
    """The file system that something lies on: its type, owner and mode of its root, and who has mounted it (FUSE; else None)."""

    type: str
    uid: int = 0
    mode: int = 0o755
    by: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found under a path, without following it. `names` is the number of hard links."""

    path: str
    kind: Kind
    uid: int
    gid: int
    mode: int  # permission bits, the sticky bit included
    names: int = 1
    is_mount_point: bool = False
    granted: tuple[tuple[str, int], ...] = ()  # the users and groups that an access control list lets write
    mount: Mount = field(default=Mount("ext4"))


@dataclass(frozen=True, slots=True)
class Own:
    """The account that judges. `also` are further owners that it trusts here.

    `hides_owners`: its user namespace shows owners whom it does not know as 65534, and knows nobody who is 65534.
    """

    uid: int
    groups: frozenset[int]
    also: frozenset[int] = frozenset()
    hides_owners: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """At most one of the two is set. A refusal says what to do."""

    refusal: str = ""
    warning: str = ""


FINE = Verdict()


def others_write(found: Found, own: Own) -> bool:
    """Whether somebody other than root, this account and the groups that it is in has write access."""
    if any(
        name not in (0, own.uid, *own.also) if kind == "user" else name not in own.groups
        for kind, name in found.granted
    ):
        return True
    return bool(found.mode & OTHERS_WRITE) or (bool(found.mode & GROUP_WRITES) and found.gid not in own.groups)


def judge_way(found: Found, above: Found | None, own: Own) -> Verdict:
    """Judges a folder on the way to the one that matters, or a link. `above` is the folder that it lies in."""
    if found.kind is Kind.LINK:
        return judge_link(found, above, own)
    if found.kind is not Kind.FOLDER:
        return _no_folder(found)
    owner = judge_owner(found, own)
    if owner.refusal:
        if not found.is_mount_point:
            return owner
        owner = Verdict(warning=f"{found.path} is mounted and belongs to {user(found.uid)}, who can change it")
    if not others_write(found, own) or found.mode & stat.S_ISVTX:
        return owner
    if mode_says_nothing(found) or found.is_mount_point:
        return Verdict(warning=f"{found.path} can be written by {writers(found)}{_why_accepted(found)}")
    if found.uid == 0 and not found.mode & OTHERS_WRITE:  # a group, or a list
        return Verdict(warning=f"{found.path} can be written by {writers(found)}, to whom root has given it")
    return Verdict(
        f"{found.path} can be written by {writers(found)}, who could put something else in the place of what is in it;"
        f" take that right away (chmod {_narrower(found)} {found.path}), or choose another folder"
    )


def judge_folder(found: Found, own: Own) -> Verdict:
    """Judges the folder that matters, which holds sockets, keys and the database."""
    if found.kind is not Kind.FOLDER:
        return _no_folder(found)
    owner = judge_owner(found, own)
    if owner.refusal or not others_write(found, own):
        return owner
    if mode_says_nothing(found) or found.is_mount_point:
        return Verdict(warning=f"{found.path} can be written by {writers(found)}{_why_accepted(found)}")
    if found.mode & stat.S_ISVTX:
        return Verdict(
            f"{found.path} is shared by {writers(found)}; choose a folder of this user alone, perhaps inside it"
        )
    return Verdict(
        f"{found.path} can be written by {writers(found)}, who may have prepared what is in it;"
        f" look at what is in it, then take that right away (chmod {_narrower(found)} {found.path}), or choose another folder"
    )


def judge_entry(found: Found, wanted: Kind, own: Own, *, written: bool = False) -> Verdict:
    """Judges what lies in the folder that matters under one of our names. `written`: it is a file that is written in place."""
    if found.kind is not wanted:
        return Verdict(
            f"{found.path} is {found.kind}, where {wanted} of the service's own belongs, and nothing is followed there;"
            " move it away, or choose another folder"
        )
    owner = judge_owner(found, own)
    if owner.refusal:
        return owner
    if written and found.names > 1:
        return Verdict(f"{found.path} is another file too (a hard link), which would be overwritten; remove this name")
    if not others_write(found, own) or found.kind is Kind.SOCKET:
        return owner
    if mode_says_nothing(found) or (found.is_mount_point and found.kind is Kind.FOLDER):
        return Verdict(warning=f"{found.path} can be written by {writers(found)}{_why_accepted(found)}")
    return Verdict(
        f"{found.path} can be written by {writers(found)}, who may have changed it;"
        f" look at it, then take that right away (chmod {_narrower(found)} {found.path})"
    )


def judge_owner(found: Found, own: Own) -> Verdict:
    """Judges who owns something, and who has mounted the file system that says so."""
    if found.mount.by is not None and found.mount.by not in (0, own.uid):
        return Verdict(
            f"{found.path} is on a file system that {user(found.mount.by)} has mounted; choose another folder"
        )
    if found.uid in (0, own.uid) or found.uid in own.also:
        return FINE
    if is_alike(found.mount) and found.uid == found.mount.uid:
        return Verdict(warning=f"{found.path} is on {found.mount.type}, which shows one owner for everything")
    if found.mount.type in NFS and (found.uid in UNNAMED or found.uid == found.mount.uid):
        return Verdict(
            warning=f"{found.path} is on NFS, which shows {user(found.uid)} as the owner of what others made"
        )
    if own.hides_owners and found.uid in UNNAMED:
        return Verdict(warning=f"the owner of {found.path} is unknown in this container (user namespace)")
    # What lies in the folder of a service that is root has the right owners already: those of root and of the database.
    chown = f"chown {own.uid}" if own.uid == 0 else f"chown -R {own.uid}"
    return Verdict(
        f"{found.path} belongs to {user(found.uid)}, who may have prepared what is in it;"
        f" choose another folder, run the service as that user, or, if everything in it is yours,"
        f" give it to this user ({chown} {found.path})"
    )


def judge_link(found: Found, above: Found | None, own: Own) -> Verdict:
    """Judges a symbolic link on the way. It is followed only where nobody else can have made it."""
    if above is not None and others_write(above, own):
        return Verdict(
            f"{found.path} is a symbolic link in a folder that {writers(above)} can write to, so somebody else may have"
            " made it; name the folder that it leads to, or choose another one"
        )
    return judge_owner(found, own)


def shows_one_mode(found: Found) -> bool:
    """Whether the mode says nothing, since the file system shows the mode of its root for all folders."""
    if not is_alike(found.mount):
        return False
    return found.mode == found.mount.mode or (found.kind is not Kind.FOLDER and bool(found.mount.mode & OTHERS_WRITE))


def mode_says_nothing(found: Found) -> bool:
    """Whether the right of others to write is only shown: by a file system that shows one mode, or for a group that NFS hides."""
    hidden = found.mount.type in NFS and not found.mode & OTHERS_WRITE and found.gid in UNNAMED
    return hidden or shows_one_mode(found)


def is_alike(mount: Mount) -> bool:
    """Whether this type of file system may show one owner and one mode for everything."""
    return mount.type in ALIKE or mount.type.startswith("fuse.")


def _no_folder(found: Found) -> Verdict:
    return Verdict(f"{found.path} is {found.kind} and no folder; move it away, or choose another folder")


def _why_accepted(found: Found) -> str:
    if mode_says_nothing(found):
        return f", as its file system ({found.mount.type}) shows it"
    return "; it is mounted, so this is taken as meant"


def _narrower(found: Found) -> str:
    return "go-w" if found.mode & GROUP_WRITES else "o-w"


def writers(found: Found) -> str:
    """Who has write access, in words."""
    if found.mode & OTHERS_WRITE:
        return "everybody"
    if found.granted:
        return " and ".join(user(name) if kind == "user" else f"the group {name}" for kind, name in found.granted)
    try:
        return f"the group {grp.getgrgid(found.gid).gr_name} ({found.gid})"
    except KeyError:
        return f"the group {found.gid}"


def user(uid: int) -> str:
    """A user, in words."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
