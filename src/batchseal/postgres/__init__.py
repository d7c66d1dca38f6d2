"""The embedded PostgreSQL server: its programs, the account that it runs as, its start after any crash, and its end.

    server = EmbeddedPostgres(temp_folder / "postgres")
    dsn = await server.start()
    ...
    await server.stop()

The server listens on a Unix socket only, in a folder that nobody but its account and root may enter. It is a child of the calling
process and ends with it. Nothing here knows a table: that is the duty of `batchseal.store`.
"""

from batchseal.postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
