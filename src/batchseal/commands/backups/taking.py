"""Makes a backup of a service with the embedded database, whether it runs or not.

The database comes first, then the payloads that its rows name. A payload is written once and never changed, and none is purged
meanwhile, so what the rows of the snapshot name is still there when it is copied. What comes in while the backup is made is not
part of it.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

from batchseal import __version__
from batchseal.commands.backups.dumps import client, dump
from batchseal.commands.backups.manifest import DATABASE, INDEX, PAYLOADS, FileNote, Manifest, Noted, now
from batchseal.commands.databases import opened_database
from batchseal.errors import ConfigurationError, PayloadDamaged
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.operation import record_bytes, records_of
from batchseal.payloads.raw import RawPayloads, raw_payloads
from batchseal.postgres.programs import find_programs
from batchseal.processes.places import settle
from batchseal.settings.load import Settings
from batchseal.store.backups import Counts, snapshot, without_purging
from batchseal.store.store import Store
from batchseal.system.disk import read_own, replacing

Tell = Callable[[str], None]
EXTERNAL = (
    "the database of --database-url is not embedded: use its own tools, and copy the payloads after it (README, Backup)"
)


async def take(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Writes a backup into `folder`, which is made if it is missing and must be empty. Raises ConfigurationError."""
    if not settings.has_embedded_database:
        raise ConfigurationError(EXTERNAL)
    settings = settle(settings)
    instance = identity_in(settings.temp_folder)
    make_empty(folder)
    began = now()
    program = client(settings.postgres_bin, "pg_dump")
    async with opened_database(settings) as address:
        store = await Store.connect(address, instance=uuid4(), pool_size=2)
        try:
            async with without_purging(store.database):
                tell("dumping the database")
                counts, named, dumped = await take_database(store, program, address.url, folder)
                tell(f"copying the payloads of {len(named)} operations")
                copying = partial(copy_payloads, raw_payloads(settings), named, folder)
                with naming(folder):
                    index, payloads, copied, missing = await asyncio.to_thread(copying)
        finally:
            await store.close()
    manifest = Manifest(
        began_at=began,
        ended_at=now(),
        version=__version__,
        postgres=postgres_version(settings),
        instance=instance,
        payload_store=settings.payload_store.partition("?")[0],
        operations=counts.operations,
        unfinished=counts.unfinished,
        last_id=counts.last_id,
        payloads=copied,
        missing=missing,
        files={DATABASE: dumped, INDEX: index, PAYLOADS: payloads},
    )
    manifest.write(folder)
    return manifest


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Raises ConfigurationError where a file cannot be written, as on a full disk: the database would be taken for the cause."""
    try:
        yield
    except OSError as problem:
        raise ConfigurationError(f"the backup in {folder} is not complete: {problem.strerror or problem}") from None


def identity_in(temp_folder: Path) -> str:
    """The identity of the instance in this folder. Raises ConfigurationError if none has worked there."""
    try:
        return read_own(temp_folder / "instance-id").decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            f"no service has worked in {temp_folder}; name the service's folder with --temp-folder"
        ) from None


def make_empty(folder: Path) -> None:
    """Raises ConfigurationError if the folder holds anything, or cannot be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigurationError(f"{folder} is not empty; a backup needs a folder of its own")
    except OSError as problem:
        raise ConfigurationError(f"{folder}: {problem.strerror}") from None


def postgres_version(settings: Settings) -> str:
    return find_programs(Path(settings.postgres_bin) if settings.postgres_bin else None).version


Named = list[tuple[int, list[PayloadRecord]]]


async def take_database(store: Store, program: Path, url: str, folder: Path) -> tuple[Counts, Named, FileNote]:
    """Dumps one state of the database. Returns what it holds, and which payloads it names."""
    async with snapshot(store.database) as state:
        with naming(folder):
            dumped = await dump(program, url, state.name, folder / DATABASE)
        named = [(operation, records_of(columns)) async for operation, columns in state.payloads()]
        return await state.counts(), named, dumped


def copy_payloads(
    raw: RawPayloads, named: Sequence[tuple[int, Sequence[PayloadRecord]]], folder: Path
) -> tuple[FileNote, FileNote, int, list[int]]:
    """Blocking. Copies all payloads. Returns the notes of both files, how many there are, and the operations that lack one."""
    copied, missing = 0, list[int]()
    with replacing(folder / INDEX, 0o600) as index_file, replacing(folder / PAYLOADS, 0o600) as payload_file:
        index, payloads = Noted(index_file), Noted(payload_file)
        for operation, records in named:
            for record in records:
                one = Noted(payload_file)
                try:
                    for block in raw.read(record):
                        payloads.write(block)
                        one.count(block)
                except PayloadDamaged:
                    if one.bytes:  # some of it is in the file, and counts as the payload of nobody
                        index.write(line_of(operation, None, one.note))
                    missing.append(operation)
                    continue
                index.write(line_of(operation, record, one.note))
                copied += 1
    return index.note, payloads.note, copied, sorted(set(missing))


def line_of(operation: int, record: PayloadRecord | None, note: FileNote) -> bytes:
    packed = base64.b64encode(record_bytes(record)).decode() if record is not None else None
    line = {"operation": operation, "record": packed, "bytes": note.bytes, "sha256": note.sha256}
    return json.dumps(line).encode() + b"\n"
