"""What 1,000 documents cost in the database: growth of our tables and indexes over batches 6 to 10 of 2,500, vacuumed between.

    python -m benchmarks.database_size

Small documents, since a row does not know how large its document is; references and names as long as a billing system's.
Left out: the write-ahead log, which is bounded by `max_wal_size`, and what a table is allocated with at its start.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from benchmarks.end_to_end import Runs, make_batch, seal_once
from harness.service import RunningService

BATCHES, COUNTED_FROM = 10, 5
SIZE = """SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = 'batchseal' AND c.relkind = 'r'"""


async def vacuumed_size(socket: Path) -> int:
    connection = await asyncpg.connect(host=str(socket), user="batchseal", database="batchseal")
    try:
        await connection.execute("VACUUM")
        return int(await connection.fetchval(SIZE))
    finally:
        await connection.close()


def measure(count: int = 2500, batches: int = BATCHES, counted_from: int = COUNTED_FROM) -> dict[str, float]:
    folder = Path(tempfile.mkdtemp(prefix="batchseal-bench-"))
    sizes = []
    try:
        batch = make_batch(folder, count, 2_000)
        with RunningService("--sandbox-credential", "p256") as service:
            for _ in range(batches):
                seal_once(service, batch, Runs())
                sizes.append(asyncio.run(vacuumed_size(service.folder / "temp" / "postgres")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    documents = (batches - counted_from) * count
    return {"db_mb_per_1000_documents": round((sizes[-1] - sizes[counted_from - 1]) / documents * 1000 / 1e6, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2500)
    options = parser.parse_args()
    print(json.dumps(measure(options.count)))


if __name__ == "__main__":
    main()
