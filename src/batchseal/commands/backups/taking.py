"""Makes a backup of a service with the embedded database, whether it runs or not.

The database comes first, then the payloads that its rows name. A payload is written once and never changed, and none is purged
meanwhile, so what the rows of the snapshot name is still there when it is copied. What comes in while the backup is made is not
part of it.
"""

import base64
import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import msgspec

from batchseal import __version__
from batchseal.commands.backups.dumps import client, dump
from batchseal.commands.backups.manifest import (
    DATABASE,
    INDEX,
    MANIFEST,
    PAYLOADS,
    FileNote,
    Manifest,
    Noted,
    kind_of,
    now,
)
from batchseal.commands.backups.threads import GoOn, in_thread
from batchseal.commands.databases import opened_database
from batchseal.errors import ConfigurationError, PayloadDamaged
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.operation import record_bytes, records_of
from batchseal.payloads.raw import RawPayloads, raw_payloads
from batchseal.payloads.stores import LOCAL
from batchseal.postgres.programs import find_programs
from batchseal.processes.places import settle
from batchseal.settings.load import Settings
from batchseal.store.backups import Counts, snapshot, without_purging
from batchseal.store.store import Store
from batchseal.system.disk import read_own, replacing

Tell = Callable[[str], None]
EXTERNAL = (
    "the database of --database-url is not embedded: use its own tools, and copy the payloads after it, as the page"
    " Backup and restore of the documentation says"
)


async def take(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Writes a backup into `folder`, which is made if it is missing and must be empty. Raises ConfigurationError."""
    if not settings.has_embedded_database:
        raise ConfigurationError(EXTERNAL)
    settings = settle(settings)
    instance = identity_in(settings.temp_folder)
    make_empty(folder)
    with complete_or_nothing(folder):
        return await write(settings, instance, folder, tell)


async def write(settings: Settings, instance: str, folder: Path, tell: Tell) -> Manifest:
    """Writes all files, the manifest last. Raises ConfigurationError, OSError."""
    began = now()
    program = client(settings.postgres_bin, "pg_dump")
    async with opened_database(settings) as address:
        store = await Store.connect(address, instance=uuid4(), pool_size=2)
        try:
            with tempfile.TemporaryFile(dir=folder) as listed:
                async with without_purging(store.database):
                    tell("dumping the database")
                    counts, named, dumped = await take_database(settings, store, program, address.url, folder, listed)
                    tell(f"copying the payloads of {named} operations")
                    copying = partial(copy_payloads, raw_payloads(settings), named_in(listed), folder)
                    with naming(folder):
                        index, payloads, copied, missing = await in_thread(copying)
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
        what = problem.strerror or type(problem).__name__
        raise ConfigurationError(f"{problem.filename or folder}: {what}; there is no backup") from None


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


@contextmanager
def complete_or_nothing(folder: Path) -> Iterator[None]:
    """Removes what the block has written if it raises: a backup that is not complete is none, and its files may fill the disk.

    An error of the operating system becomes a ConfigurationError.
    """
    try:
        with naming(folder):
            yield
    except BaseException:
        for name in (MANIFEST, DATABASE, INDEX, PAYLOADS):
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise


def postgres_version(settings: Settings) -> str:
    return find_programs(Path(settings.postgres_bin) if settings.postgres_bin else None).version


async def take_database(
    settings: Settings, store: Store, program: Path, url: str, folder: Path, listed: BinaryIO
) -> tuple[Counts, int, FileNote]:
    """Dumps one state of the database, and writes to `listed` which payloads it names (`named_in`).

    Returns what it holds, and how many operations name payloads. Raises ConfigurationError.
    """
    async with snapshot(store.database) as state:
        require_only(kind_of(settings.payload_store), await state.stores())
        with naming(folder):
            dumped = await dump(program, url, state.name, folder / DATABASE)
        named = 0
        async for operation, columns in state.payloads():
            with naming(folder):
                listed.write(
                    json.dumps([operation, [packed(record) for record in records_of(columns)]]).encode() + b"\n"
                )
            named += 1
        return await state.counts(), named, dumped


def named_in(listed: BinaryIO) -> Iterator[tuple[int, list[PayloadRecord]]]:
    """Each operation with its payloads. They are in a file, since a million of them would not fit into a container's memory."""
    listed.seek(0)
    for line in listed:
        operation, records = json.loads(line)
        yield operation, [unpacked(record) for record in records]


def require_only(own: str, stores: Collection[str | None]) -> None:
    """Raises ConfigurationError if payloads lie elsewhere than in the store of --payload-store, which is of the kind `own`.

    The backup would not find them there, and would call them gone.
    """
    if others := {store or LOCAL for store in stores} - {own}:
        raise ConfigurationError(
            f"--payload-store is {own}, and there are documents in a store of the kind {', '.join(sorted(others))}: give"
            " --payload-store as the service has it. What it had in another store before cannot be backed up: have it fetched and"
            " purged (batchseal operations purge)"
        )


def copy_payloads(
    raw: RawPayloads, named: Iterable[tuple[int, Sequence[PayloadRecord]]], folder: Path, go_on: GoOn
) -> tuple[FileNote, FileNote, int, list[int]]:
    """Blocking. Copies all payloads. Returns the notes of both files, how many there are, and the operations that lack one.

    Raises InterruptedError where `go_on` does.
    """
    copied, missing = 0, list[int]()
    with replacing(folder / INDEX, 0o600) as index_file, replacing(folder / PAYLOADS, 0o600) as payload_file:
        index, payloads = Noted(index_file), Noted(payload_file)
        for operation, records in named:
            for record in records:
                one = Noted(payload_file)
                try:
                    for block in raw.read(record):
                        go_on()
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
    said = packed(record) if record is not None else None
    line = {"operation": operation, "record": said, "bytes": note.bytes, "sha256": note.sha256}
    return json.dumps(line).encode() + b"\n"


def packed(record: PayloadRecord) -> str:
    """A record as a text, for a line of JSON."""
    return base64.b64encode(record_bytes(record)).decode()


def unpacked(text: str) -> PayloadRecord:
    """What `packed` was given."""
    return msgspec.msgpack.decode(base64.b64decode(text), type=PayloadRecord)
