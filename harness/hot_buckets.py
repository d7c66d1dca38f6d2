"""Hot folders in prefixes of a bucket, for tests: their objects are reached without the proxy that stands before the store."""

from dataclasses import dataclass, replace
from pathlib import Path

from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.objects import Objects
from batchseal.settings.hot_folders import Asked, HotFolder
from batchseal.settings.payload_stores import ObjectAddress
from harness.hot_folders import Folders
from harness.object_stores import KEYS

PRIVATE = ".batchseal/"
# The check of an instance that starts may be under way.
TRIAL = f"{PRIVATE}trials/"


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The three prefixes of a client service, below the prefix of `address`."""

    address: ObjectAddress
    input: Objects
    backup: Objects
    output: Objects

    @classmethod
    def make(cls, address: ObjectAddress) -> "Prefixes":
        return cls(address, *(objects(address, name) for name in ("in", "backup", "out")))

    def entry(self) -> dict[str, str]:
        """What the file of client services says of them."""
        bucket, prefix = self.address.bucket, self.address.prefix
        names = {"inputFolder": "in", "backupFolder": "backup", "outputFolder": "out"}
        return {key: f"s3://{bucket}/{prefix}/{name}" for key, name in names.items()}

    def asked(self) -> HotFolder:
        """As the configuration has them, with nothing asked of the signatures."""
        entry = self.entry()
        return HotFolder(entry["inputFolder"], entry["backupFolder"], entry["outputFolder"], Asked())


def objects(address: ObjectAddress, name: str) -> Objects:
    """A prefix below another one."""
    below = replace(address, prefix=f"{address.prefix}/{name}")
    return Objects(below, lambda: KEYS, BucketRequests(below, lambda: KEYS))


def keys(prefix: Objects) -> list[str]:
    """All keys, but those of the service itself."""
    return [one.key for page in prefix.list("") for one in page if not one.key.startswith(PRIVATE)]


def contents(prefix: Objects) -> dict[str, bytes]:
    """The objects of a prefix, but those of the service itself."""
    return {key: prefix.get(key)[0] for key in keys(prefix)}


def left_over(prefixes: Prefixes) -> list[str]:
    """What the service has left of its own, but for what it keeps in the input."""
    places = (prefixes.input, prefixes.backup, prefixes.output)
    found = [one.key for prefix in places for page in prefix.list("") for one in page if one.key.startswith(PRIVATE)]
    return [key for key in found if not key.startswith((f"{PRIVATE}published/", TRIAL))]


def mirrored(prefixes: Prefixes, place: Path) -> Folders:
    """All objects as files, so that what is judged of folders can be judged of them."""
    folders = Folders.make(place)
    for name in ("input", "backup", "output"):
        prefix, folder = getattr(prefixes, name), getattr(folders, name)
        for page in prefix.list(""):
            for one in page:
                if one.key.startswith(TRIAL):
                    continue
                path = folder / one.key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(prefix.get(one.key)[0])
    return folders
