"""Opens the payload store that the settings name. Only its code is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from batchseal.errors import ConfigurationError
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.interface import Payloads, Place
from batchseal.settings.load import Settings

if TYPE_CHECKING:
    from batchseal.payloads.bucket_requests import BucketRequests
    from batchseal.payloads.object_keys import Keys
    from batchseal.payloads.objects import ObjectPace, Objects
    from batchseal.payloads.s3 import ObjectPayloads
    from batchseal.settings.payload_stores import ObjectAddress, StoreAddress

LOCAL = "local"


def payload_store(settings: Settings) -> Payloads:
    """The store. Nothing is asked of it yet, and no thread is started. Raises ConfigurationError."""
    return encrypted_with(settings.payload_key_file, _plain_store(settings))


def _plain_store(settings: Settings) -> Payloads:
    if settings.payload_store == LOCAL:
        return PayloadsBySize(settings.spill_folder, name=f"{LOCAL}:{settings.instance}")
    from batchseal.payloads.moved import WithOwnFolder
    from batchseal.settings.payload_stores import parse_store

    shared = _shared_store(settings, parse_store(settings.payload_store))
    return WithOwnFolder(shared, PayloadsBySize(settings.spill_folder))


def _shared_store(settings: Settings, address: "StoreAddress") -> Payloads:
    if address.objects is not None:
        return object_store(settings, address.objects)
    from batchseal.payloads.shared import SharedPayloads

    return SharedPayloads(address.folder)


def object_store(settings: Settings, address: "ObjectAddress") -> "ObjectPayloads":
    """An object store as the service uses it. The folder above its copies must be there; it makes that of the copies."""
    from batchseal.payloads.s3 import ObjectPayloads

    return ObjectPayloads(*objects_of(settings, address), settings.spill_folder)


def prefix_beside(
    settings: Settings, bucket: str, prefix: str, what: str, pace: "ObjectPace | None" = None
) -> "tuple[Objects, BucketRequests]":
    """A prefix that holds no payloads, reached as the payload store is: same address, keys, CA and proxy. `what` names it in
    the log. Raises ConfigurationError where payloads do not lie in an object store.
    """
    from dataclasses import replace

    from batchseal.settings.payload_stores import parse_store

    address = parse_store(settings.payload_store).objects
    if address is None:
        raise ConfigurationError("it needs --payload-store=s3://..., whose address and keys it is reached with")
    return objects_of(settings, replace(address, bucket=bucket, prefix=prefix), pace, what)


def objects_of(
    settings: Settings, address: "ObjectAddress", pace: "ObjectPace | None" = None, what: str = "the payload store"
) -> "tuple[Objects, BucketRequests]":
    """What sends requests to an object store. It makes nothing on this machine, so any account may use it."""
    from batchseal.payloads.bucket_requests import BucketRequests
    from batchseal.payloads.objects import Objects

    keys = keys_of(settings, address)
    requests = BucketRequests(address, keys or _no_keys)
    return Objects(address, keys, requests, pace, what=what), requests


def place_of(settings: Settings) -> Place | None:
    """The place of all instances' payloads, for who stores none himself. None for a store of one instance alone."""
    if settings.payload_store == LOCAL:
        return None
    from batchseal.settings.payload_stores import parse_store

    address = parse_store(settings.payload_store)
    if address.objects is None:
        from batchseal.payloads.shared import FolderPlace

        return FolderPlace(address.folder, set)
    from batchseal.payloads.object_place import ObjectPlace
    from batchseal.payloads.s3 import FOLDER

    return ObjectPlace(*objects_of(settings, address.objects), FOLDER, set)


def keys_of(settings: Settings, address: "ObjectAddress") -> "Callable[[], Keys] | None":
    """What gives the keys: a file, else the settings. None where the role of the machine is used."""
    from pathlib import Path

    from batchseal.payloads.object_keys import Keys, KeysFile

    if address.keys:
        return KeysFile(Path(address.keys), address.profile)
    if not settings.payload_store_key:
        return None
    given = Keys(settings.payload_store_key, settings.payload_store_secret, settings.payload_store_token)
    return lambda: given


def _no_keys() -> None:
    return None


def encrypted_with(key_file: str, payloads: Payloads) -> Payloads:
    """The store itself where `key_file` is empty, else the store with encryption by the keys in this file.

    Raises ConfigurationError where the file cannot be used.
    """
    if not key_file:
        return payloads
    # Imported here: a service that encrypts nothing does not load it.
    from batchseal.payloads.encrypted import EncryptedPayloads
    from batchseal.payloads.keys import KeyFile

    return EncryptedPayloads(payloads, KeyFile(Path(key_file)))
