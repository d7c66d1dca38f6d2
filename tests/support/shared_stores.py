"""A payload store that several instances share, as drills use it: it can go away, and what lies in it can be listed."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from harness.object_stores import store_flags
from harness.several import shared_folder
from harness.store_proxy import StoreProxy
from tests.support.object_stores import AT_ONCE, new_prefix, object_payloads, proxied

from batchseal.payloads.interface import PayloadRecord, Place
from batchseal.payloads.operation import records_of
from batchseal.payloads.orphans import OrphanPolicy, Orphans
from batchseal.payloads.s3 import ObjectPayloads
from batchseal.payloads.shared import FolderPlace
from batchseal.payloads.shared_upload import PART
from batchseal.store import Store
from batchseal.store.identity import DatabaseIdentity


class SharedStore:
    """`flags` are those of an instance that uses it, and `place` is what its sweep sees."""

    name: str
    flags: Sequence[str]
    place: Place

    def away(self, *, frozen: bool = False) -> None:
        """Out of reach until `back`. `frozen`: it does not refuse either, as far as there is a difference."""
        raise NotImplementedError

    def back(self) -> None:
        raise NotImplementedError

    def unfinished(self) -> list[str]:
        """What uploads have left that were not completed."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Removes a small file beside the payloads."""
        raise NotImplementedError


class Folder(SharedStore):
    """A volume that is not mounted for a while: an empty folder is in its place."""

    name = "shared"

    def __init__(self, folder: Path) -> None:
        self.volume = folder / "volume"
        self.flags = (shared_folder(self.volume),)
        self.place = FolderPlace(self.volume, set)

    @property
    def _unmounted(self) -> Path:
        return self.volume.with_name("volume elsewhere")

    def away(self, *, frozen: bool = False) -> None:
        self.volume.rename(self._unmounted)
        self.volume.mkdir(mode=0o700)

    def back(self) -> None:
        if self._unmounted.exists():
            self.volume.rmdir()  # nobody has written to what lies below the volume
            self._unmounted.rename(self.volume)

    def unfinished(self) -> list[str]:
        return [path.name for path in (self.volume / "payloads").glob(f"*{PART}")]

    def remove(self, name: str) -> None:
        (self.volume / name).unlink()


class Bucket(SharedStore):
    """A prefix in SeaweedFS, behind a proxy."""

    name = "s3"

    def __init__(self, folder: Path) -> None:
        self.proxy: StoreProxy = proxied("seaweedfs")
        address = new_prefix(self.proxy)
        self.flags = store_flags(address)
        self._payloads: ObjectPayloads = object_payloads(address, folder / "looks")
        self.place = self._payloads.place

    def away(self, *, frozen: bool = False) -> None:
        self.proxy.away("frozen" if frozen else "away")

    def back(self) -> None:
        self.proxy.back()

    def unfinished(self) -> list[str]:
        return [upload.key for upload in self._payloads.requests.open_uploads(self._payloads.prefix)]

    def remove(self, name: str) -> None:
        self._payloads.objects.delete([name])


def shared_store(name: str, folder: Path) -> "Folder | Bucket":
    return Bucket(folder) if name == "s3" else Folder(folder)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has deleted, why it was stopped ("": it was not), and the payloads that rows name."""

    deleted: list[UUID]
    stopped: str
    live: set[UUID]


def swept(url: str, place: Place, policy: OrphanPolicy = AT_ONCE) -> Swept:
    """One sweep by the rows of a database, with other periods than those of the settings, which are days. `url`: its owner's."""

    async def sweep() -> Swept:
        store, stopped = await Store.connect(url, instance=uuid4()), [""]
        identity = DatabaseIdentity(store.database)

        async def live() -> AsyncGenerator[list[PayloadRecord], None]:
            async for rows in identity.live_payloads():
                yield [record for columns in rows for record in records_of(columns)]

        def alarm(cause: str) -> None:
            stopped[0] = cause

        try:
            deleted = await Orphans(place, policy, alarm).sweep(live, identity)
            return Swept(deleted, stopped[0], {record.id async for records in live() for record in records})
        finally:
            await store.close()

    return asyncio.run(sweep())
