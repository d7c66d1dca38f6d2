"""What a command makes as root in a folder of the service: it must be the service's, which could not use it otherwise."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Has a process that is root be the owner of the folder during the block. Raises OSError.

    All threads of the process are, so this is for commands alone. On a volume that takes root for nobody (NFS with `root_squash`)
    it is also the only way to do something there.
    """
    status = os.stat(folder)
    if os.geteuid() != 0 or status.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
