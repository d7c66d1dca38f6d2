"""Which input folders this instance works on: each has one lease among all instances on the database.

A folder is known by a file in it, so that instances which mount the same folder under different paths know it as one, and those
which have folders of their own under the same path do not. A lease is a row like that of any other duty (`store/turns.py`), with
the same end and the same rule for taking over what ran out.

A lease that was lost and taken again is another one: somebody else may have worked on the folder in between. Work holds the lease
under which it has begun, and ends with it.
"""

import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from uuid import UUID, uuid4

from batchseal.entries import files
from batchseal.entries.claims import PRIVATE
from batchseal.entries.files import FILE, make_private, opened, opened_below
from batchseal.store.instances import LEASE_SECONDS
from batchseal.store.turns import Turns

ID = "id"
# Work ends so long before the lease does, by the clock of this process.
MARGIN_SECONDS = 3.0


def now_seconds() -> float:
    """The time since the start of the machine. It goes on while the machine is suspended, as the leases in the database do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def identity(root: int, known: UUID | None = None) -> UUID:
    """The identity of an open input folder, which is made where it is missing: `known` once more, or a new one.

    Blocking. Raises OSError.
    """
    with opened_below(root, PRIVATE, make_private) as folder:
        while True:
            with suppress(FileNotFoundError, ValueError), opened(ID, FILE, folder) as descriptor:
                return UUID(os.read(descriptor, 64).decode("ascii", "replace").strip())
            draft = f"{ID}.{uuid4()}"
            descriptor = os.open(draft, files.NEW, 0o600, dir_fd=folder)
            try:
                files.write_all(descriptor, f"{known or uuid4()}\n".encode("ascii"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                files.rename_new(folder, draft, folder, ID)
            except FileExistsError:  # another instance was faster, or what is there is no identity
                os.unlink(draft, dir_fd=folder)
                with suppress(ValueError), opened(ID, FILE, folder) as descriptor:
                    return UUID(os.read(descriptor, 64).decode("ascii", "replace").strip())
                os.unlink(ID, dir_fd=folder)
            files.sync_folder(folder)


class Lease:
    """The time without a gap in which this instance works on a folder. Once it is over, it is not held again.

    Any thread may ask for it.
    """

    def __init__(self, clock: Callable[[], float], until: float = 0.0) -> None:
        self._clock = clock
        self._until = until

    def is_held(self) -> bool:
        """Whether this instance works on the folder, for at least a moment longer."""
        return self._clock() < self._until - MARGIN_SECONDS

    def extend(self, until: float) -> bool:
        """False if it is over."""
        if not self.is_held():
            return False
        self._until = until
        return True

    def end(self) -> None:
        self._until = 0.0


class FolderLeases:
    """The leases of this instance."""

    def __init__(self, turns: Turns, clock: Callable[[], float] = now_seconds) -> None:
        self._turns = turns
        self._clock = clock
        self._leases: dict[UUID, Lease] = {}

    def lease(self, folder: UUID) -> Lease:
        """The lease of a folder as it is now. It is over where another instance has the folder."""
        return self._leases.get(folder) or Lease(self._clock)

    async def renew(self, folders: Collection[UUID]) -> None:
        """Takes or renews the leases of these folders. Raises DatabaseUnavailable; then what is held runs out by itself."""
        if not folders:
            return
        until = self._clock() + LEASE_SECONDS
        taken = await self._turns.take_duties([duty(folder) for folder in folders])
        for folder in set(folders) | self._leases.keys():
            if folder not in folders or duty(folder) not in taken:
                if (lease := self._leases.pop(folder, None)) is not None:
                    lease.end()
            elif not self.lease(folder).extend(until):
                self._leases[folder] = Lease(self._clock, until)


def duty(folder: UUID) -> str:
    """The name of the lease of a folder."""
    return f"hot folder {folder}"
