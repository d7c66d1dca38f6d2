"""What a webhook adds to the end of an operation: the database's row that says what is to be sent.

    python -m benchmarks.webhook_cost

Operations of two documents end in turns, of a client service with a webhook and of one without. The time is that of whoever ends
them, commit included. Counted apart, by the clock of the database, is the trigger that writes the row.
"""

import argparse
import asyncio
import json
import statistics
import time
from uuid import UUID, uuid4

import asyncpg
from harness.held_folder import held_folder
from harness.several import running_database

from batchseal.document import DocumentOutcome
from batchseal.operation import ContentType, Mode
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.webhooks import EndpointRow, WebhookTable

INSTANCE = UUID(int=7)
WITH, WITHOUT = "with", "without"
DOCUMENTS = 2
END_EXPLAINED = """EXPLAIN (ANALYZE, FORMAT JSON) UPDATE operations SET status = 4, documents_failed = 2, finished_at = now(),
    lease_holder = NULL, lease_until = NULL WHERE id = $1"""


async def registered(store: Store, client_service: str) -> OperationRow:
    new = NewOperation(uuid4(), client_service, str(uuid4()), "", Mode.ASYNC, INSTANCE, "h", 1)
    documents = [NewDocument(n, f"d{n}", "d.pdf", ContentType.PDF, 9) for n in range(DOCUMENTS)]
    return await store.register(new, documents)


async def end_milliseconds(store: Store, client_service: str) -> float:
    row = await registered(store, client_service)
    began = time.perf_counter()
    await store.finish(row.id, row.created_at, 1, [DocumentOutcome(n, 9) for n in range(DOCUMENTS)])
    return (time.perf_counter() - began) * 1000


async def trigger_milliseconds(owner: asyncpg.Connection, operation_id: int) -> float:
    """By the clock of the database. The end is rolled back."""
    transaction = owner.transaction()
    await transaction.start()
    plan = await owner.fetchval(END_EXPLAINED, operation_id)
    await transaction.rollback()
    (trigger,) = (one for one in json.loads(plan)[0]["Triggers"] if one["Trigger Name"] == "end_for_webhook")
    return float(trigger["Time"])


async def measured(dsn: str, count: int) -> dict[str, float]:
    store = await Store.connect(dsn, instance=INSTANCE, pool_size=1)
    owner = await asyncpg.connect(dsn, server_settings={"batchseal.scope": "*", "search_path": "batchseal"})
    try:
        await store.migrate(role="batchseal")
        await WebhookTable(store.database).keep_endpoints([EndpointRow(WITH, b"an address")])
        ends: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        triggers: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        for number in range(count):
            for name, taken in ends.items():
                took = await end_milliseconds(store, name)
                inside = await trigger_milliseconds(owner, (await registered(store, name)).id)
                if number:  # the first one plans its statements
                    taken.append(took)
                    triggers[name].append(inside)
    finally:
        await owner.close()
        await store.close()
    plain, told = statistics.median(ends[WITHOUT]), statistics.median(ends[WITH])
    return {
        "webhook_end_ms": told,
        "webhook_added_ms": told - plain,
        "webhook_end_over_plain": told / plain,
        "webhook_trigger_ms": statistics.median(triggers[WITH]),
    }


def measure(count: int) -> dict[str, float]:
    with held_folder("bench") as folder, running_database(folder / "database") as dsn:
        return {name: round(value, 4) for name, value in asyncio.run(measured(dsn, count)).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="operations of each kind (default: %(default)s)")
    print(json.dumps(measure(parser.parse_args().count), indent=2))


if __name__ == "__main__":
    main()
