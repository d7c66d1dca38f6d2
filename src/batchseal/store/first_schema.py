"""Makes the tables of a new embedded database, in a process that ends after that.

    python -m batchseal.store.first_schema ROLE

ROLE, quoted, is who uses the tables. The address of the database, as their owner, comes on standard input: until it comes, the
process loads its code. The signer does the same work at each start and then finds nothing to do.
"""

import asyncio
import sys

from batchseal.store.database import Database
from batchseal.store.migrations import migrate
from batchseal.store.queries import QUERIES


async def make_tables(dsn: str, role: str) -> None:
    """Makes the tables, and whatever a first day of work would add or change in the catalogs of the database.

    All that is done here is in no recovery after a crash. The vacuum sets the marks that the first readers of new rows would set.
    """
    database = await Database.open(dsn, 1, everything=True)
    try:
        await migrate(database, role=role)
        async with database.connection() as connection:
            today = await connection.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
            await connection.execute(QUERIES["make_signatures_partition"], today)
            await connection.execute("VACUUM (FREEZE)")
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(make_tables(sys.stdin.read().strip(), sys.argv[1]))
