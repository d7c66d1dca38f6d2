"""Samples of figures, one a minute for each metric, for the plots of the operator's page. They are kept for 30 days.

One instance takes the samples that are about the database, for all. What each instance counts of its own, it adds itself.
"""

from collections.abc import Mapping
from enum import IntEnum

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

DAY = 86_400.0
SAMPLES_SECONDS, CALLS_SECONDS, CONSUMPTION_SECONDS = 30 * DAY, 31 * DAY, 3_654 * DAY


class Metric(IntEnum):
    """The metrics. The numbers are stored, so they must never change. The names are those that pages ask for."""

    queue_documents = 1
    queue_oldest_seconds = 2
    queue_operations = 3
    operations_waiting = 4
    documents_received = 5  # in the minute before
    documents_signed = 6  # of operations that ended in the minute before
    documents_failed = 7
    batch_p50_seconds = 8  # from the registration to the end
    batch_p95_seconds = 9
    single_p50_seconds = 10
    single_p95_seconds = 11
    database_bytes = 12
    instances_alive = 13
    upstream_calls = 14  # of all instances, in this minute
    upstream_calls_failed = 15
    upstream_call_seconds = 16  # of all these calls together
    upstream_digests = 17


class SampleTable:
    """The samples, as one instance writes them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self) -> None:
        """Takes the samples of this minute that are about the database. A second call within the minute changes nothing."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["take_samples"])

    async def add(self, counted: Mapping[Metric, float]) -> None:
        """Adds what this instance has counted since the last call."""
        async with self._database.connection() as connection:
            await connection.execute(
                QUERIES["add_samples"], [int(metric) for metric in counted], list(counted.values())
            )

    async def drop_old(self) -> None:
        """Removes samples, sign calls and consumption that have had their time."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["drop_old_figures"], SAMPLES_SECONDS, CALLS_SECONDS, CONSUMPTION_SECONDS)
