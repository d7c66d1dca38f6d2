"""`Leases`: who works on an operation, and until when. `store/__init__.py` draws how an operation moves."""

from collections.abc import Collection
from uuid import UUID

from batchseal.store.database import Database
from batchseal.store.instances import GAP_SECONDS
from batchseal.store.queries import QUERIES
from batchseal.store.rows import WAKE_SECONDS, ClaimedOperation, OperationEnd, claimed_operation
from batchseal.system.crash_sites import crash_site

Ids = Collection[int]


class Leases:
    """The leases of operations, as one instance takes, renews and gives them back. Every method raises DatabaseUnavailable.

    `shared` names the payload store of this instance if others can read it too. Then this instance claims also what others took
    in there. With None it claims what it took in itself.
    """

    def __init__(self, database: Database, instance: UUID, shared: str | None = None) -> None:
        self._database = database
        self._instance = instance
        self._shared = shared

    @property
    def instance(self) -> UUID:
        """The instance that claims."""
        return self._instance

    @property
    def shared(self) -> str | None:
        """The payload store that other instances read too, if this one has such a store."""
        return self._shared

    async def claim(
        self,
        limit: int,
        lease_seconds: float,
        *,
        woken: Ids = (),
        at_work: Ids = (),
        passed_over: Collection[str] = (),
        left_to_others: Collection[str] = (),
    ) -> list[ClaimedOperation]:
        """Leases up to `limit` operations that are due and that nobody works on, the oldest first.

        An operation that was registered less than WAKE_SECONDS ago is left alone: its worker is about to hand it over, and can
        say more about it than its row. This does not apply to the `woken` ones. Those that are `at_work` are never claimed,
        and none of the client services that are `passed_over`. Of those that are `left_to_others` only what no other instance
        can sign is claimed.
        """
        asked = limit, lease_seconds, WAKE_SECONDS, list(woken), list(at_work), list(passed_over)
        async with self._database.connection() as connection:
            if self._shared is None:
                records = await connection.fetch(QUERIES["claim"], self._instance, *asked)
            else:
                further = self._shared, GAP_SECONDS, list(left_to_others)
                records = await connection.fetch(QUERIES["claim_shared"], self._instance, *asked, *further)
        if records:
            crash_site("claimed")
        found = (claimed_operation(record, is_found=True) for record in records)
        return sorted(found, key=lambda claimed: claimed.row.id)

    async def claim_one(self, operation_id: int, lease_seconds: float) -> ClaimedOperation | None:
        """Leases one operation, even before it is due. None if it is finished, held, or cannot be read by this instance."""
        asked = self._instance, operation_id, lease_seconds
        async with self._database.connection() as connection:
            if self._shared is None:
                record = await connection.fetchrow(QUERIES["claim_one"], *asked)
            else:
                record = await connection.fetchrow(QUERIES["claim_one_shared"], *asked, self._shared, GAP_SECONDS)
            crash_site("claimed")
            return claimed_operation(record) if record else None

    async def take_back_own_leases(self) -> int:
        """Frees every lease of this instance and returns how many. For the start and the end of its signer.

        At the start the one before it is dead. At the end it has stopped working, and others need not wait for the leases to end.
        """
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["take_back_own_leases"], self._instance))

    async def renew(self, operation_id: int, fence: int, lease_seconds: float) -> bool:
        """Extends the lease. False if somebody else has it now or if the operation is finished: then the work must stop."""
        async with self._database.connection() as connection:
            renewed = await connection.fetchval(QUERIES["renew"], operation_id, fence, lease_seconds)
            return renewed is not None

    async def end_under(self, operation_id: int, fence: int) -> OperationEnd | None:
        """How the operation ended, if whoever held it with this fence ended it. None in every other case.

        This is for a writer whose commit happened while the answer to it was lost with the connection.
        """
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["end_under"], operation_id, fence)
            return OperationEnd(*record) if record else None

    async def postpone(self, operation_id: int, fence: int, seconds: float) -> bool:
        """Ends a failed try: EXECUTION_ERROR, due in `seconds`. If the fence is stale, changes nothing and returns False."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["postpone"], operation_id, fence, seconds) is not None

    async def give_back(self, operation_id: int, fence: int) -> bool:
        """Ends the lease, so that whoever should work on the operation can claim it at once. False if the fence is stale."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["give_back"], operation_id, fence) is not None
