"""Puts a backup into an empty temp folder, from which the service then starts.

The rows come first, then the payloads. Whatever was unfinished in the backup is held, before anything could sign it. Until all of
it is on the disk the folder says that it is not finished, and no service starts in it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from batchseal.commands.backups.dumps import client, load
from batchseal.commands.backups.manifest import DATABASE, INDEX, PAYLOADS, READ_BYTES, Manifest
from batchseal.commands.backups.taking import EXTERNAL, unpacked
from batchseal.commands.backups.threads import GoOn, in_thread
from batchseal.errors import ConfigurationError
from batchseal.payloads.raw import RawPayloads, raw_payloads
from batchseal.postgres.cluster import ROLE
from batchseal.postgres.server import EmbeddedPostgres
from batchseal.processes.places import RESTORING, prepare
from batchseal.settings.load import Settings
from batchseal.store.backups import HeldOperations
from batchseal.store.store import Store
from batchseal.system.disk import sync, write_synced

Tell = Callable[[str], None]


async def restore(settings: Settings, folder: Path, tell: Tell) -> int:
    """Restores the backup in `folder` into the temp folder. Returns how many operations are held. Raises ConfigurationError."""
    if not settings.has_embedded_database:
        raise ConfigurationError(EXTERNAL)
    manifest = Manifest.read(folder)
    manifest.require_store(settings.payload_store)
    require_empty(settings.temp_folder)
    program = client(settings.postgres_bin, "psql")
    manifest.check(folder, tell)  # last, since it reads all of a backup, which may take an hour
    settings, lock = prepare(settings)
    try:
        marker = settings.temp_folder / RESTORING
        write_synced(marker, b"a restore into this folder is not finished\n", 0o600)
        write_synced(settings.temp_folder / "instance-id", f"{manifest.instance}\n".encode("ascii"))
        settings = replace(settings, instance=manifest.instance)
        held = await restore_database(settings, program, folder, manifest, tell)
        tell(f"copying {manifest.payloads} payloads")
        await in_thread(partial(restore_payloads, raw_payloads(settings), folder))
        marker.unlink()
        sync(settings.temp_folder)
    finally:
        os.close(lock)
    return held


def require_empty(folder: Path) -> None:
    """Raises ConfigurationError if the folder holds anything that a service has made."""
    try:
        found = sorted(path.name for path in folder.iterdir() if path.name != "lost+found")
    except FileNotFoundError:
        return
    except OSError as problem:
        raise ConfigurationError(f"{folder}: {problem.strerror}") from None
    if found:
        raise ConfigurationError(
            f"--temp-folder {folder} is not empty ({', '.join(found[:5])}); a backup is restored into an empty folder"
        )


async def restore_database(settings: Settings, program: Path, folder: Path, manifest: Manifest, tell: Tell) -> int:
    """Makes a database from the dump, brings it up to date, holds what is unfinished, and returns how many operations that is."""
    binaries = Path(settings.postgres_bin) if settings.postgres_bin else None
    server = EmbeddedPostgres(settings.temp_folder / "postgres", binaries)
    tell("making the database")
    await server.start()
    try:
        tell("reading the dump")
        await load(program, server.dsn, folder / DATABASE)
        store = await Store.connect(server.owner_dsn, instance=UUID(manifest.instance), pool_size=1)
        try:
            await store.migrate(role=ROLE)
            held = HeldOperations(store)
            await held.mark_lost(manifest.missing)
            return await held.hold()
        finally:
            await store.close()
    finally:
        await server.stop()


def restore_payloads(raw: RawPayloads, folder: Path, go_on: GoOn) -> None:
    """Blocking. Puts all payloads back. Raises ConfigurationError for one that does not match its checksum.

    `go_on` is called before each block.
    """
    with (folder / INDEX).open("rb") as index, (folder / PAYLOADS).open("rb") as payloads:
        for line in index:
            noted = json.loads(line)
            digest = hashlib.sha256()
            blocks = read_exactly(payloads, noted["bytes"], digest.update, go_on)
            if noted["record"] is None:
                for _ in blocks:
                    pass
                continue
            record = unpacked(noted["record"])
            raw.write(record, blocks)
            for _ in blocks:  # a store that has the payload may not have read them
                pass
            if digest.hexdigest() != noted["sha256"]:
                raise ConfigurationError(f"the payload of operation {noted['operation']} is damaged in the backup")
    raw.settle()


def read_exactly(file: BinaryIO, length: int, seen: Callable[[bytes], None], go_on: GoOn) -> Iterator[bytes]:
    """The next `length` bytes of a file, in blocks. Raises ConfigurationError where it ends before."""
    while length > 0:
        go_on()
        block = file.read(min(READ_BYTES, length))
        if not block:
            raise ConfigurationError(f"{PAYLOADS} ends too early")
        length -= len(block)
        seen(block)
        yield block
