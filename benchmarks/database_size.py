"""What 1,000 documents cost in the database: growth of our tables and indexes over batches 6 to 10 of 2,500, vacuumed between.

    python -m benchmarks.database_size

There are two figures. `db_mb_per_1000_documents` is what stays after the payloads were purged: all tables but the signatures.
`db_signatures_mb_per_1000_documents` is what the signatures take until then: their partitions are dropped as a whole, day by day,
once every payload of the day has gone. The signatures are those of an RSA key of 3,072 bits, 384 bytes each.

The documents are small, since a row does not know how large its document is. References and names are as long as those of a
billing system. Left out are the write-ahead log, which is bounded by `max_wal_size`, and what a table is allocated with at its
start.
"""

import argparse
import asyncio
import json
from pathlib import Path

import asyncpg
from benchmarks.end_to_end import Runs, make_batch, seal_once
from harness.held_folder import held_folder
from harness.service import RunningService

BATCHES, COUNTED_FROM = 10, 5
SIZES = """
SELECT coalesce(sum(size) FILTER (WHERE NOT signatures), 0)::bigint,
       coalesce(sum(size) FILTER (WHERE signatures), 0)::bigint
FROM (SELECT pg_total_relation_size(c.oid) AS size, c.relname LIKE 'signatures\\_%' AS signatures
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'batchseal' AND c.relkind = 'r') tables
"""


async def vacuumed_sizes(socket: Path) -> tuple[int, int]:
    """Bytes of what stays, and of the signatures."""
    connection = await asyncpg.connect(host=str(socket), user="batchseal", database="batchseal")
    try:
        await connection.execute("VACUUM")
        staying, signatures = await connection.fetchrow(SIZES)
        return int(staying), int(signatures)
    finally:
        await connection.close()


def measure(count: int = 2500, batches: int = BATCHES, counted_from: int = COUNTED_FROM) -> dict[str, float]:
    with held_folder("bench") as folder:
        sizes = []
        batch = make_batch(folder, count, 2_000)
        with RunningService("--sandbox-credential", "rsa3072") as service:
            for _ in range(batches):
                seal_once(service, batch, Runs())
                sizes.append(asyncio.run(vacuumed_sizes(service.folder / "temp" / "postgres")))
    documents = (batches - counted_from) * count
    growth = [last - first for first, last in zip(sizes[counted_from - 1], sizes[-1], strict=True)]
    staying, signatures = (round(size / documents * 1000 / 1e6, 4) for size in growth)
    return {"db_mb_per_1000_documents": staying, "db_signatures_mb_per_1000_documents": signatures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2500)
    options = parser.parse_args()
    print(json.dumps(measure(options.count)))


if __name__ == "__main__":
    main()
