"""The key that signs the tokens of all instances, where no file names one.

Only the role that owns the tables can read it. A function that runs with the owner's rights (SECURITY DEFINER) would hand the key
to whoever has the role of the service, and so to a statement that somebody smuggles into a worker. The signer asks as the owner
instead, in the same connection as the migrations, and the supervisor passes the key on to the workers with their settings. An
installation without `--database-owner-url` has one role for both, which can then read the key.
"""

import secrets

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

KEY_BYTES = 32


async def token_keys(owner: Database) -> list[bytes]:
    """The keys, that which signs first. A first one is made if there is none. `owner` connects as the owner of the tables.

    Raises DatabaseUnavailable.
    """
    async with owner.transaction() as connection:
        await connection.execute(QUERIES["make_token_key"], secrets.token_bytes(KEY_BYTES))
        return [bytes(record["key"]) for record in await connection.fetch(QUERIES["token_keys"])]
