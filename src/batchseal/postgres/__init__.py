"""The embedded PostgreSQL: its programs, the account it runs as, its start after any crash, and its end with
the service.

    server = EmbeddedPostgres(temp_folder / "postgres") dsn = await server.start()      # unix socket only,
    inside a folder that only its account and root may enter ... await server.stop()

The server is a child of the calling process and dies with it. It knows nothing of tables: that is
`batchseal.store`.
"""

from batchseal.postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
