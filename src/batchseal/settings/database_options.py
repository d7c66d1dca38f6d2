"""The settings about the database: which one it is, and how it is reached. `options.py` has the others."""

from dataclasses import dataclass

from batchseal.settings.declaration import option
from batchseal.settings.webhook_options import WebhookOptions


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class DatabaseOptions(WebhookOptions):
    """Everything about the database, on top of the settings about the network. A class with slots has one base."""

    database_url: str = option(
        "",
        "address of a PostgreSQL database to use instead of the embedded one",
        dotted="database.url",
        group="database",
    )
    database_url_file: str = option(
        "",
        "file that holds the address of --database-url, for one with a password; it is read again for each connection, so that"
        " a password can be changed while the service runs",
        group="database",
    )
    database_pooler: str = option(
        "",
        "set this to transaction if --database-url leads to a pooler that gives out connections for one transaction, such as"
        " PgBouncer; empty: it leads to the server itself",
        group="database",
        choices=("transaction",),
    )
    postgres_bin: str = option(
        "",
        "folder with the programs of PostgreSQL for the embedded database; empty: those that are installed with the service",
        group="database",
    )
    postgres_previous_bin: str = option(
        "",
        "folder with the programs of an older major version of PostgreSQL, which upgrade an embedded database of that version;"
        " empty: where the system's packages put them",
        group="database",
    )
    database_owner_url: str = option(
        "",
        "address of the same database with the role that owns the tables and applies migrations; empty: --database-url",
        dotted="database.owner.url",
        group="database",
    )
    database_owner_url_file: str = option(
        "", "file that holds the address of --database-owner-url, as --database-url-file does", group="database"
    )
