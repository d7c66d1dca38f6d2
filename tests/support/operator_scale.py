"""Large tables made by SQL, and how long the lists of operators take on them.

    python -m tests.support.operator_scale --operations 1000000 --documents 50000000

makes an embedded database in a temporary folder (--folder), fills it, and prints a line for each list: the median and the 95th
percentile of its first page, of deep pages, and the rows that the pages had. It fails where one takes longer than --bound.

    python -m tests.support.operator_scale --folder /srv/scale --keep

keeps the database in that folder. The next such run times the lists without filling it again.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from uuid import uuid4

import asyncpg
from tests.support.operators import operators

from batchseal.operation import Mode, OperationStatus
from batchseal.postgres import EmbeddedPostgres
from batchseal.store import Store
from batchseal.store.operator import DocumentSearch, OperationFilter, OperatorStore, Page

DAYS = 60
SERVICES = 20
# One operation in so many has failed documents; so many of the newest wait.
FAILED_ONE_IN, WAITING = 50, 500
# A list is read to this page at most, and often enough that each has about as many figures.
PAGES = 15

OPERATIONS = f"""
INSERT INTO operations (id, payload_id, instance, created_at, finished_at, fetched_at, documents_total, documents_signed,
                        documents_failed, port, status, mode, return_signed_content, payload_purged, host, client_service,
                        external_reference, description, stored_bytes)
SELECT n, gen_random_uuid(), $1, at, CASE WHEN waits THEN NULL ELSE at + interval '3 seconds' END,
       CASE WHEN waits THEN NULL ELSE at + interval '1 minute' END, $3, CASE WHEN waits THEN 0 ELSE $3 - failed END, failed, 8080,
       CASE WHEN waits THEN 1 WHEN failed > 0 THEN 4 ELSE 2 END, 1 + n % 2, NULL, at < now() - interval '2 days' AND NOT waits,
       'host', 'service ' || CASE WHEN n % 1000 = 0 THEN {SERVICES} ELSE n % {SERVICES - 1} END,
       'FT ' || (2025 + n % 2) || '/' || n, 'an invoice run', 200000 * $3
FROM (SELECT n, date_trunc('milliseconds', now() - ($2 - n) * interval '{DAYS} days' / $2) AS at, n > $2 - {WAITING} AS waits,
             CASE WHEN n % {FAILED_ONE_IN} = 0 AND n <= $2 - {WAITING} THEN 2 ELSE 0 END AS failed
      FROM generate_series($4::bigint, $5::bigint) n) made
"""

DOCUMENTS = """
INSERT INTO documents (operation_id, content_bytes, month, ordinal, reference_key, additional_bytes, status, content_type,
                       sign_error, external_reference, name, cause, level)
SELECT o.id, 200000, date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date, ordinal, hashint8(o.id * 10000 + ordinal), 9000,
       CASE WHEN o.status = 1 THEN 1 WHEN ordinal < o.documents_failed THEN 3 ELSE 2 END, 1,
       CASE WHEN ordinal < o.documents_failed THEN 3 ELSE 0 END, 'invoice ' || o.id || '/' || ordinal,
       'invoice-' || o.id || '-' || ordinal || '.pdf',
       CASE WHEN ordinal < o.documents_failed THEN 'the signing service answered 50' || o.id % 4 ELSE '' END, 1
FROM operations o CROSS JOIN generate_series(0, $1::integer - 1) ordinal WHERE o.id BETWEEN $2 AND $3
"""


@dataclass(frozen=True, slots=True)
class Timing:
    name: str
    seconds: list[float]
    rows: int

    @property
    def p95(self) -> float:
        return quantiles(self.seconds, n=20)[-1] if len(self.seconds) > 1 else self.seconds[0]

    def line(self) -> str:
        return f"{self.name:44} p50 {median(self.seconds) * 1000:8.1f} ms  p95 {self.p95 * 1000:8.1f} ms  {self.rows:6} rows"


async def fill(owner: asyncpg.Connection, operations: int, documents: int, at_once: int = 20_000) -> None:
    """Fills empty tables. `owner` sees all rows. The audit trail gets two entries for each operation."""
    each = max(1, documents // operations)
    instance = uuid4()
    await owner.execute(
        "INSERT INTO instances (instance, address, version, store) VALUES ($1, 'host:8080', '1', 'local')", instance
    )
    month = (datetime.now(UTC) - timedelta(days=DAYS)).date().replace(day=1)
    for _ in range(4):
        await owner.execute("SELECT make_partition($1)", month)
        month = (month + timedelta(days=32)).replace(day=1)
    for first in range(1, operations + 1, at_once):
        last = min(operations, first + at_once - 1)
        await owner.execute(OPERATIONS, instance, operations, each, first, last)
        await owner.execute(DOCUMENTS, each, first, last)
        await owner.execute(
            "INSERT INTO audit (position, at, operation_id, month, signed, failed, event, client_service, digest, credential,"
            " link) SELECT 2 * id - e, created_at, id, date_trunc('month', now())::date, documents_signed, documents_failed,"
            " 2 - e, client_service, '', '', sha256(id::text::bytea)"
            " FROM operations, generate_series(0, 1) e WHERE id BETWEEN $1 AND $2",
            first,
            last,
        )
    await owner.execute("SELECT setval(pg_get_serial_sequence('operations', 'id'), $1)", operations)
    await owner.execute("ANALYZE")


def lists(newest: int) -> dict[str, Callable[[OperatorStore, str | None], Awaitable[Page[object]]]]:
    """Each list that pages have, by name."""
    now = datetime.now(UTC)
    month_ago = now - timedelta(days=30)
    filters = {
        "all operations": OperationFilter(),
        "of a frequent client service": OperationFilter(client_service="service 1"),
        "of a rare client service": OperationFilter(client_service=f"service {SERVICES}"),
        "of no client service": OperationFilter(client_service="nobody"),
        "failed": OperationFilter(statuses=frozenset({OperationStatus.EXECUTION_FAILED})),
        "failed, of a rare client service": OperationFilter(client_service=f"service {SERVICES}", has_failures=True),
        "pending": OperationFilter(statuses=frozenset({OperationStatus.PENDING_EXECUTION})),
        "executed": OperationFilter(statuses=frozenset({OperationStatus.EXECUTED})),
        "waiting for a retry (none)": OperationFilter(statuses=frozenset({OperationStatus.EXECUTION_ERROR})),
        "a day, a month ago": OperationFilter(since=month_ago, until=month_ago + timedelta(days=1)),
        "older than 30 days, synchronous": OperationFilter(older_seconds=30 * 86_400.0, mode=Mode.SYNC),
        "a whole reference": OperationFilter(reference=f"FT 2025/{newest // 2 // 2 * 2}"),
        "a frequent prefix": OperationFilter(reference="FT 2025/"),
        "a frequent prefix, failed": OperationFilter(reference="FT 2025/", has_failures=True),
        "an unknown prefix": OperationFilter(reference="ZZ"),
    }

    def of(wanted: OperationFilter) -> Callable[[OperatorStore, str | None], Awaitable[Page[object]]]:
        return lambda store, cursor: store.operations(wanted, cursor)  # type: ignore[return-value]

    found = {f"operations: {name}": of(wanted) for name, wanted in filters.items()}
    half = newest // 2
    return found | {
        "documents of an operation": lambda store, cursor: store.documents(half, cursor=cursor),
        "documents by reference": lambda store, cursor: store.find_documents(
            DocumentSearch(reference=f"invoice {half}/0"), cursor
        ),
        "documents by name, rare": lambda store, cursor: store.find_documents(
            DocumentSearch(name="NOTHING LIKE THIS"), cursor
        ),
        "documents by name, frequent": lambda store, cursor: store.find_documents(
            DocumentSearch(name="invoice-"), cursor
        ),
        "audit": lambda store, cursor: store.audit(cursor),
    }


async def measure(store: OperatorStore, newest: int) -> list[Timing]:
    """Times each list, page after page, and what else a page asks for."""
    found = []
    for name, page_of in lists(newest).items():
        seconds, rows = list[float](), 0
        await page_of(store, None)  # the statement is prepared by now
        while len(seconds) < PAGES:
            rows, cursor = 0, None
            while len(seconds) < PAGES:
                began = time.perf_counter()
                page = await page_of(store, cursor)
                seconds.append(time.perf_counter() - began)
                rows += len(page.rows)
                if (cursor := page.next) is None:
                    break
        found.append(Timing(name, seconds, rows))
    for name, work in {
        "one operation": lambda: store.operation(newest // 50 * 50 // 2),
        "failures of a week": store.failures,
        "overview": store.overview,
        "client services": store.client_services,
        "instances": store.instances,
        "storage": store.storage,
    }.items():
        seconds = []
        for _ in range(PAGES + 1):
            began = time.perf_counter()
            await work()  # type: ignore[operator]
            seconds.append(time.perf_counter() - began)
        found.append(Timing(name, seconds[1:], 1))
    return found


async def make_tables(owner_dsn: str, operations: int, documents: int) -> None:
    store = await Store.connect(owner_dsn, instance=uuid4(), pool_size=1)
    await store.migrate(role="batchseal")
    await store.close()
    settings = {"batchseal.scope": "*", "search_path": "batchseal"}
    owner = await asyncpg.connect(owner_dsn, server_settings=settings, command_timeout=None)
    began = time.monotonic()
    await fill(owner, operations, documents)
    size = await owner.fetchval("SELECT pg_database_size(current_database())")
    await owner.close()
    print(
        f"{operations} operations, {documents} documents, {size >> 20} MB, filled in {time.monotonic() - began:.0f} s"
    )


async def run(folder: Path, operations: int, documents: int, bound: float) -> int:
    """Fills the database in the folder, unless it was filled before, and times the lists. Returns the exit code."""
    filled = folder / "filled"
    server = EmbeddedPostgres(folder / "postgres", sizes={"shared_buffers": "512MB", "work_mem": "16MB"})
    await server.start()
    try:
        if not filled.exists():
            await make_tables(server.owner_dsn, operations, documents)
            filled.touch()
        async with operators(server.dsn) as operator:
            timings = await measure(operator, operations)
        for timing in timings:
            print(timing.line())
        slow = [timing.name for timing in timings if timing.p95 > bound and timing.name != "storage"]
        print(f"slower than {bound * 1000:.0f} ms: {', '.join(slow) or 'none'}")
        return 1 if slow else 0
    finally:
        await server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--documents", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, help="with room for 15 GB (default: a temporary folder)")
    parser.add_argument("--bound", type=float, default=0.05, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--keep", action="store_true", help="keep the filled database in --folder, and use one that is there"
    )
    given = parser.parse_args()
    if given.keep:
        if given.folder is None:
            parser.error("--keep needs --folder")
        given.folder.mkdir(mode=0o711, exist_ok=True)
        return asyncio.run(run(given.folder, given.operations, given.documents, given.bound))
    with tempfile.TemporaryDirectory(prefix="batchseal-scale-", dir=given.folder) as name:
        Path(name).chmod(0o711)
        return asyncio.run(run(Path(name), given.operations, given.documents, given.bound))


if __name__ == "__main__":
    raise SystemExit(main())
