"""Whom a POSIX access control list lets write to a file or folder (acl(5)). With such a list, the mode alone does not say."""

import os
import struct

NAME = "system.posix_acl_access"
HEAD, ENTRY = struct.Struct("<I"), struct.Struct("<HHI")  # version; tag, rights, id (linux/posix_acl_xattr.h)
USER, GROUP, MASK, WRITE = 0x02, 0x08, 0x10, 0x02


def writers_in(acl: bytes) -> tuple[tuple[str, int], ...]:
    """The named users and groups that a list, in the form of its extended attribute, lets write: ("user", id), ("group", id)."""
    entries = list(ENTRY.iter_unpack(acl[HEAD.size : HEAD.size + len(acl[HEAD.size :]) // ENTRY.size * ENTRY.size]))
    mask = next((rights for tag, rights, _ in entries if tag == MASK), 0)
    names = {USER: "user", GROUP: "group"}
    return tuple((names[tag], id_) for tag, rights, id_ in entries if tag in names and rights & mask & WRITE)


def writers_of(path: str) -> tuple[tuple[str, int], ...]:
    """The same for what lies at the path. Empty if it has no list, or if its file system knows none."""
    try:
        return writers_in(os.getxattr(path, NAME, follow_symlinks=False))
    except OSError:
        return ()
