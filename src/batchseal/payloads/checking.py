"""The part of `batchseal check` about a payload store that several instances share."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from batchseal.errors import BatchsealError, ConfigurationError, PayloadDamaged, PayloadUnavailable
from batchseal.settings.load import Settings
from batchseal.system.mounts import Mounts
from batchseal.system.owner import as_owner_of

if TYPE_CHECKING:
    from batchseal.payloads.bucket_requests import BucketRequests
    from batchseal.payloads.interface import Place
    from batchseal.payloads.objects import Objects
    from batchseal.settings.payload_stores import ObjectAddress
    from batchseal.store.identity import DatabaseState

TRIAL = "check"
# Types of file systems on which a rename is not always one step, or what was fsynced is not always seen by others.
DOUBTFUL = ("cifs", "smb", "smb2", "smb3", "ncpfs", "9p", "vboxsf", "prl_fs", "virtiofs", "davfs")


async def check_payload_store(settings: Settings, *, fix: bool = False) -> str:
    """What can be said of the store. With `fix`, sets what is missing, and has the next sweep trust the database as it is now.

    Raises ConfigurationError where the store cannot be used, or where something must be mended first.
    """
    from batchseal.payloads.stores import objects_of, place_of
    from batchseal.settings.payload_stores import parse_store

    address = parse_store(settings.payload_store)
    if not address.serves_many:
        return f"local: in {settings.spill_folder}, for this instance alone"
    place = place_of(settings)
    assert place is not None
    if address.objects is None:
        # What root makes here must be the service's, and root may be nobody there.
        with owned(address.folder):
            remarks = await asyncio.to_thread(try_folder, address.folder)
        remarks += await look_at_marker(settings, place, fix=fix, owned=partial(owned, address.folder))
        return "; ".join(remarks)
    # The service opens it with a folder for copies. If this account is another one, it must not make that folder.
    objects, requests = objects_of(settings, address.objects)
    remarks = await asyncio.to_thread(partial(try_objects, objects, requests, fix=fix))
    remarks += await look_at_marker(settings, place, fix=fix)
    return "; ".join(remarks)


# --- object stores ------------------------------------------------------------------------------------------------------


def try_objects(objects: "Objects", requests: "BucketRequests", *, fix: bool) -> list[str]:
    """Puts, reads and deletes an object, and asks for the rules of the bucket."""
    address, key, content = objects.address, f"{TRIAL}/{uuid4()}", b"batchseal check"
    try:
        objects.put(key, content)
        if objects.read(key, 10, len(content)) != content[10:]:
            raise ConfigurationError(f"{address.said} gives back other bytes than it was given")
        objects.delete([key])
        if objects.size(key) is not None:
            raise ConfigurationError(f"{address.said} keeps what was deleted")
    except PayloadUnavailable as problem:
        raise ConfigurationError(f"{address.said}: {problem.cause}") from None
    except PayloadDamaged:
        raise ConfigurationError(f"{address.said} does not give back what it has just taken") from None
    return [
        f"{address.said} takes, gives and deletes objects",
        *_about_the_way(address),
        *_about_rules(requests, address, fix=fix),
    ]


def _about_the_way(address: "ObjectAddress") -> list[str]:
    from batchseal.settings.payload_stores import is_private

    url = urlsplit(address.url)
    remarks = list[str]()
    if not is_private(url.hostname or ""):
        remarks.append(f"WARNING: {url.hostname} lies outside private networks, so documents leave the house")
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        remarks.append("WARNING: without TLS, others on the network can read documents and change them")
    return remarks


def _about_rules(requests: "BucketRequests", address: "ObjectAddress", *, fix: bool) -> list[str]:
    from batchseal.payloads.object_place import prefix_of
    from batchseal.payloads.s3 import FOLDER

    prefix = prefix_of(address, FOLDER)
    if not requests.can_ask:
        return ["with the role of the machine the rules of the bucket cannot be looked at from here"]
    remarks = list[str]()
    try:
        if requests.keeps_versions():
            remarks.append(
                "WARNING: the bucket keeps versions, so deleted documents stay; end that, or add a rule that expires them"
            )
        aborts = requests.aborts_incomplete_uploads(prefix)
        if not aborts and fix:
            requests.set_abort_rule(prefix)
            aborts = requests.aborts_incomplete_uploads(prefix)
        remarks.append(
            "the bucket aborts incomplete uploads by itself"
            if aborts
            else "WARNING: the bucket has no rule that aborts incomplete uploads, so what a crash leaves may stay;"
            + (" it does not take one" if fix else " batchseal check --fix sets it")
        )
    except PayloadUnavailable as problem:
        remarks.append(f"WARNING: the rules of the bucket cannot be looked at: {problem.cause}")
    return remarks


# --- folders ------------------------------------------------------------------------------------------------------------


def try_folder(folder: Path) -> list[str]:
    """Writes, renames and reads a file, and looks at what the folder lies on."""
    import os

    from batchseal.system.disk import rename_synced, write_synced

    trial, name = folder / f"{TRIAL}-{uuid4()}.part", folder / f"{TRIAL}-{uuid4()}"
    try:
        write_synced(trial, b"batchseal check", 0o600)
        rename_synced(trial, name)
        read = name.read_bytes()
        os.unlink(name)
    except OSError as problem:
        raise ConfigurationError(f"{folder} cannot be used: {problem.strerror}; is the volume mounted?") from None
    if read != b"batchseal check":
        raise ConfigurationError(f"{folder} gives back other bytes than were written")
    kind = Mounts.read().of(str(folder.resolve())).type
    remarks = [f"{folder} takes, renames and gives back files ({kind})"]
    if kind.startswith(DOUBTFUL):
        remarks.append(
            f"WARNING: on {kind} others may see a file late or in part; NFS or an object store is meant for this"
        )
    return remarks


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Raises ConfigurationError where there is no such folder."""
    try:
        with as_owner_of(folder):
            yield
    except OSError as problem:
        raise ConfigurationError(f"{folder} cannot be used: {problem.strerror}; is the volume mounted?") from None


# --- whose payloads these are ---------------------------------------------------------------------------------------------


async def look_at_marker(
    settings: Settings, place: "Place", *, fix: bool, owned: Callable[[], AbstractContextManager[None]] = nullcontext
) -> list[str]:
    """Compares the store with the database, as far as that runs on its own. What is done in the place is done within `owned`."""
    if not settings.database_url:
        return ["WARNING: instances that share a store need one database (--database-url)"]
    from batchseal.payloads.orphans import accept, claim, doubts, owner_of

    try:
        state = await database_state(settings)
    except BatchsealError as problem:
        return [f"not compared with the database: {problem.cause}"]
    if state is None:
        return ["the database has no tables yet"]
    with owned():
        if fix:
            await asyncio.to_thread(partial(claim, place, state, anew=True))
            await asyncio.to_thread(accept, place, state)
        elif not state.sweeps and await asyncio.to_thread(owner_of, place) is None:
            return ["the store has no marker yet, and gets that of this database at the first start"]
        cause = await asyncio.to_thread(doubts, place, state)
    if cause:
        raise ConfigurationError(
            f"payloads without a row are not removed: {cause}. If the database is as it should be: batchseal check --fix"
        )
    return ["the store and the database belong together"]


async def database_state(settings: Settings) -> "DatabaseState | None":
    from batchseal.store.identity import DatabaseIdentity
    from batchseal.store.store import Store

    store = await Store.connect(settings.database_url, instance=UUID(int=0))
    try:
        return await DatabaseIdentity(store.database).state_if_any()
    finally:
        await store.close()
