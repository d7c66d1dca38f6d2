"""What release 0.1 left behind is read, finished and delivered (tests/fixtures/release_0_1)."""

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from harness.invoices import invoice
from harness.validators import pyhanko_verify
from tests.integration.conftest import as_superuser
from tests.support.parts import running_parts

from batchseal.errors import ResultExpired
from batchseal.operation import Caller, Mode, OperationStatus
from batchseal.postgres import EmbeddedPostgres
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.store import Store
from batchseal.store.migrations import migration_files
from batchseal.upstream.remote import RemoteUpstream
from batchseal.worker.service import Service

FIXTURE = Path(__file__).parents[1] / "fixtures" / "release_0_1"
INSTANCE = UUID("00000000-0000-4000-8000-00000000f001")
LAST_MIGRATION = 4

# External reference to the caller, the number of the first invoice, how many documents, and how many of them end signed.
OPERATIONS = {
    "finished": ("A", 0, 3, 3),
    "finished with time stamps": ("A", 3, 2, 2),
    "finished synchronous": ("A", 5, 1, 1),
    "finished and fetched": ("B", 6, 1, 1),
    "failed on arrival": ("A", 8, 2, 1),
    "failed upstream": ("A", 9, 3, 2),
    "to be tried again": ("A", 12, 3, 3),
    "half signed": ("A", 15, 4, 4),
    "half signed, rows behind": ("A", 19, 4, 4),
    "signed, not stamped": ("A", 23, 2, 2),
    "signed, not finished": ("A", 25, 2, 2),
    "pending, prepared": ("A", 27, 3, 3),
    "pending, unprepared": ("A", 30, 2, 2),
    "pending, for another certificate": ("B", 32, 2, 2),
}
STAMPED = ("finished with time stamps", "signed, not stamped")


async def load_rows(url: str) -> None:
    """The database as release 0.1 left it: its migrations, its rows."""
    connection = await asyncpg.connect(url, server_settings={"batchseal.scope": "*", "search_path": "batchseal"})
    try:
        await connection.execute("CREATE SCHEMA batchseal")
        await connection.execute(
            "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), needs integer NOT NULL DEFAULT 0)"
        )
        for number, name, sql in migration_files():
            if number <= LAST_MIGRATION:
                await connection.execute(sql)
                await connection.execute("INSERT INTO migrations (number, name) VALUES ($1, $2)", number, name)
        await connection.execute(await asyncio.to_thread((FIXTURE / "rows.sql").read_text, "utf-8"))
    finally:
        await connection.close()


@pytest.fixture
async def old_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Loaded, then brought up to date by this release."""
    name = f"release_{uuid4().hex}"
    await as_superuser(postgres, f"CREATE DATABASE {name} OWNER batchseal_owner")
    owner = postgres.dsn_of("batchseal_owner", name)
    await load_rows(owner)
    store = await Store.connect(owner, instance=INSTANCE)
    await store.migrate(role="batchseal")
    await store.close()
    yield postgres.dsn_of("batchseal", name)
    await as_superuser(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def timestamp_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A time stamp authority, and its root."""
    folder = tmp_path_factory.mktemp("authority")
    services = folder / "services.json"
    services.write_text('{"A": {"secret": "s"}}')
    command: list[str | Path] = [sys.executable, "-m", "batchseal.sandbox", "--folder", folder, "--services", services]
    process = subprocess.Popen([*command, "--credential", "p256"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip() + "/tsa", folder / "root.pem"
    process.terminate()
    process.wait(120)
    process.stdout.close()


@dataclass
class Upgraded:
    service: Service
    store: Store
    timestamp_root: Path


@pytest.fixture
async def upgraded(old_database: str, timestamp_address: tuple[str, Path], tmp_path: Path) -> AsyncIterator[Upgraded]:
    """This release on the folder and the database of the one before."""
    spill = tmp_path / "spill"
    await asyncio.to_thread(shutil.copytree, FIXTURE / "spill", spill)
    (tmp_path / "pin").write_text("fixture")
    services = tmp_path / "services.json"
    services.write_text('{"A": {"secret": "s", "pinFile": "pin"}, "B": {"secret": "s", "pinFile": "pin"}}')
    address, root = timestamp_address
    settings = Settings(
        upstream_url=f"pkcs12:{FIXTURE / 'seal.p12'}",
        temp_folder=tmp_path,
        timestamp_urls=address,
        timestamp_roots=str(root),
    )
    stores: list[Store] = []

    async def connect(instance: UUID, *, everything: bool = True, shared: str | None = None) -> Store:
        stores.append(await Store.connect(old_database, instance=instance, everything=everything, shared=shared))
        return stores[-1]

    await (await connect(INSTANCE)).take_back_own_leases()
    upstream = RemoteUpstream(settings, ClientServices.load(services))
    async with running_parts(connect, upstream, spill, instance=INSTANCE) as parts:
        yield Upgraded(parts.service, parts.store, root)
    await upstream.close()
    for store in stores:
        await store.close()


async def result(upgraded: Upgraded, caller: str, reference: str) -> list[bytes]:
    """Each document of a finished operation as it is delivered; empty where it was not signed."""
    (row,) = await upgraded.service.status(Caller(caller), reference)
    assert await upgraded.service.wait(row.id, 120), f"{reference} is not finished"
    row, rows = await upgraded.service.finished_operation(Caller(caller), operation_id=row.id)
    delivered = [one async for one in upgraded.service.deliver(row, rows, encoding="raw")]
    for one in delivered:
        assert one.row.additional_bytes == 0 or one.segments, f"{reference}: {one.row.cause}"
    return [b"".join(one.segments) for one in delivered]


def authorities(upgraded: Upgraded) -> list[bytes]:
    roots = FIXTURE / "root.pem", FIXTURE / "timestamp-root.pem", upgraded.timestamp_root
    return [ssl.PEM_cert_to_DER_cert(path.read_text("ascii")) for path in roots]


async def test_everything_is_finished_and_delivered(upgraded: Upgraded, tmp_path: Path) -> None:
    roots = await asyncio.to_thread(authorities, upgraded)
    for reference, (caller, first, count, signed) in OPERATIONS.items():
        contents = await result(upgraded, caller, reference)
        assert len(contents) == count
        assert sum(bool(content) for content in contents) == signed, reference
        for number, content in enumerate(contents):
            if content:
                assert content.startswith(invoice(first + number, size_bytes=12_000)), reference
                path = tmp_path / "signed.pdf"
                path.write_bytes(content)
                (verdict,) = await asyncio.to_thread(pyhanko_verify, path, *roots)
                assert verdict.valid, f"{reference}/{number}"
                assert verdict.whole_file
                assert verdict.stamped is (reference in STAMPED)
    for reference, (caller, _, count, signed) in OPERATIONS.items():
        (row,) = await upgraded.service.status(Caller(caller), reference)
        assert row.status is (OperationStatus.EXECUTED if signed == count else OperationStatus.EXECUTION_FAILED)


async def test_what_was_purged_stays_so(upgraded: Upgraded) -> None:
    (row,) = await upgraded.service.status(Caller("A"), "finished and purged")
    assert row.payload_purged
    with pytest.raises(ResultExpired):
        await upgraded.service.finished_operation(Caller("A"), operation_id=row.id)


async def test_a_failed_operation_can_be_handed_in_again(upgraded: Upgraded) -> None:
    contents = [invoice(9 + number, size_bytes=12_000) for number in range(3)]
    documents = [
        {
            "documentRequest": {
                "externalReference": f"failed upstream/{number}",
                "name": f"fatura nº {number}.pdf",
                "contentType": "application/pdf",
                "base64Content": base64.b64encode(content).decode(),
            },
            "signatureInfo": {"signatureType": "PAdES", "reason": "Invoice issued", "location": "Oeiras"},
        }
        for number, content in enumerate(contents)
    ]
    request = {"externalReference": "failed upstream", "description": "once more", "documents": documents}
    body = json.dumps(request).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    row = await upgraded.service.receive(
        Caller("A"), Mode.ASYNC, form="json", media_type="application/json", body_bytes=len(body), chunks=chunks()
    )
    signed = await result(upgraded, "A", "failed upstream")
    assert all(one.startswith(content) for one, content in zip(signed, contents, strict=True))
    finished = await upgraded.service.status_by_id(Caller("A"), row.id)
    assert finished.status is OperationStatus.EXECUTED
