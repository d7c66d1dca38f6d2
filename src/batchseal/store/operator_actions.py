"""What operators do to operations: see `operator.py`. The functions of the database that do it are in migrations 0017 and
0023.

They cannot collide with a signer. A retry opens an operation that has ended, which no signer may write to. A cancel takes the
lease of whoever works on the operation and raises the fence, so that later writes of that signer change nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg

from batchseal.errors import DatabaseUnavailable, ValueNotAllowed
from batchseal.operation import OperationStatus
from batchseal.store.columns import is_storable
from batchseal.store.operator_connection import ACTION_SECONDS
from batchseal.store.operator_details import OperatorDetails
from batchseal.store.operator_rows import Done, OperationFilter, OperationLine, Who
from batchseal.store.outages import COLLISION
from batchseal.store.trail import Verified

# A transaction changes so many operations, and documents as far as several operations have them. It locks their rows meanwhile.
OPERATIONS_AT_ONCE, DOCUMENTS_AT_ONCE = 100, 5_000
MAX_WHO_CHARACTERS, MAX_DETAIL_CHARACTERS = 200, 1_000

UNFINISHED = frozenset({OperationStatus.PENDING_EXECUTION, OperationStatus.EXECUTION_ERROR})
FAILED = frozenset({OperationStatus.EXECUTION_FAILED})
FINISHED = frozenset({OperationStatus.EXECUTED, OperationStatus.EXECUTION_FAILED})

Action = Callable[[list[int]], Awaitable[list[Done]]]


class OperatorActions(OperatorDetails):
    """The actions. Each returns what became of each operation, in the order of their ids; an id counts once."""

    async def retry(
        self,
        who: Who,
        operation_ids: Sequence[int],
        *,
        also_fetched: bool = False,
        everything: bool = False,
        group: tuple[int, str] | None = None,
    ) -> list[Done]:
        """Has the failed documents of these failed operations signed, without a new upload.

        An operation whose result was fetched is only opened with `also_fetched`: its caller has been told that it failed for
        good. Documents in which the fault itself lies are left out, unless `everything` is given. `group` is a `sign_error` and a
        cause, for the documents of one group of failures.
        """
        error, cause = group or (None, None)

        async def act(ids: list[int]) -> list[Done]:
            return await self._call(
                "SELECT * FROM operator_retry($1, $2, $3, $4, $5, $6, $7)",
                *(ids, *checked(who), also_fetched, everything, error, cause),
            )

        return await self._in_parts(act, operation_ids)

    async def cancel(self, who: Who, operation_ids: Sequence[int]) -> list[Done]:
        """Ends unfinished operations: what is not signed yet fails with `cancelled by an operator`. Their references stay taken,
        and a caller that hands the documents in again goes on with the same operation.

        A signature that comes back from the signing service meanwhile is lost, and paid for all the same.
        """

        async def act(ids: list[int]) -> list[Done]:
            return await self._call("SELECT * FROM operator_cancel($1, $2, $3)", ids, *checked(who))

        return await self._in_parts(act, operation_ids)

    async def resume(self, who: Who, operation_ids: Sequence[int]) -> list[Done]:
        """Lets operations be signed that are held after a restore.

        What was signed after the backup cannot be known, so a document of theirs may get a second signature.
        """

        async def act(ids: list[int]) -> list[Done]:
            return await self._call("SELECT * FROM operator_resume($1, $2, $3)", ids, *checked(who))

        return await self._in_parts(act, operation_ids)

    async def purge(self, who: Who, operation_ids: Sequence[int]) -> list[Done]:
        """Has the payloads of finished operations purged, whether they were fetched or not: within a minute or so, or once the
        backup is made that is being made.
        """

        async def act(ids: list[int]) -> list[Done]:
            return await self._call("SELECT * FROM operator_purge($1, $2, $3)", ids, *checked(who))

        return await self._in_parts(act, operation_ids)

    async def retry_all(
        self,
        who: Who,
        wanted: OperationFilter,
        *,
        also_fetched: bool = False,
        everything: bool = False,
        group: tuple[int, str] | None = None,
    ) -> AsyncIterator[list[Done]]:
        """`retry` for all that a filter finds, in parts, each of which is a transaction of its own."""
        async for lines in self._meant(wanted, FAILED):
            ids = [line.id for line in lines]
            yield await self.retry(who, ids, also_fetched=also_fetched, everything=everything, group=group)

    async def cancel_all(self, who: Who, wanted: OperationFilter) -> AsyncIterator[list[Done]]:
        """`cancel` for all that a filter finds."""
        async for lines in self._meant(wanted, UNFINISHED):
            yield await self.cancel(who, [line.id for line in lines])

    async def resume_all(self, who: Who, wanted: OperationFilter) -> AsyncIterator[list[Done]]:
        """`resume` for all of them that a filter finds."""
        async for lines in self._meant(replace(wanted, is_held=True), UNFINISHED):
            yield await self.resume(who, [line.id for line in lines])

    async def purge_all(self, who: Who, wanted: OperationFilter) -> AsyncIterator[list[Done]]:
        """`purge` for all that a filter finds."""
        async for lines in self._meant(wanted, FINISHED):
            yield await self.purge(who, [line.id for line in lines if not line.payload_purged])

    async def note(self, who: Who, detail: str) -> None:
        """Leaves an entry in the audit trail for an action that is about no operation, with what was done in words."""
        if not is_storable(detail):
            raise ValueNotAllowed("what was done cannot be stored")
        async with self._database.connection() as connection:
            await connection.execute("SELECT operator_note($1, $2, $3)", *checked(who), detail[:MAX_DETAIL_CHARACTERS])

    async def note_verified(self, who: Who, verified: Verified, problems: int) -> None:
        """Notes a verification of the audit chain that somebody asked for. The audit trail says who."""
        values = verified.position, verified.link, verified.entries, problems, verified.problem, *checked(who)
        async with self._database.connection() as connection:
            await connection.execute(
                "SELECT operator_verified($1, $2, $3, $4, $5, $6, $7, $8)", *values, verified.began_after
            )

    async def accept_chain(self, who: Who) -> str:
        """Acknowledges that the audit chain is broken as it was found. Returns what was acknowledged; empty if nothing was."""
        async with self._database.connection() as connection:
            return str(await connection.fetchval("SELECT operator_accept_chain($1, $2)", *checked(who)))

    async def _meant(
        self, wanted: OperationFilter, statuses: frozenset[OperationStatus]
    ) -> AsyncIterator[Sequence[OperationLine]]:
        """What a filter finds, in parts that one transaction changes. Operations of other statuses than these are passed over."""
        part: list[OperationLine] = []
        meant = wanted.statuses & statuses if wanted.statuses else statuses
        if not meant:
            return
        async for lines in self.all_operations(replace(wanted, statuses=meant)):
            for line in lines:
                documents = sum(one.documents_total for one in part)
                if part and (len(part) >= OPERATIONS_AT_ONCE or documents + line.documents_total > DOCUMENTS_AT_ONCE):
                    yield part
                    part = []
                part.append(line)
        if part:
            yield part

    async def _in_parts(self, act: Action, operation_ids: Sequence[int]) -> list[Done]:
        ids = sorted({one for one in operation_ids if 0 < one < 1 << 63})
        done: list[Done] = []
        for first in range(0, len(ids), OPERATIONS_AT_ONCE):
            done += await act(ids[first : first + OPERATIONS_AT_ONCE])
        return done

    async def _call(self, query: str, *values: Any) -> list[Done]:
        """Repeats what collided with another transaction, since nothing of it was kept."""
        for left in (2, 1, 0):
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(f"SET LOCAL statement_timeout = {int(ACTION_SECONDS * 1000)}")
                    return [Done(*record) for record in await connection.fetch(query, *values)]
            except DatabaseUnavailable as problem:
                if not isinstance(problem.__cause__, COLLISION):
                    raise
                if not left:
                    raise DatabaseUnavailable("the operations are being changed by others; try again") from None
                await asyncio.sleep(0.2)
            except asyncpg.QueryCanceledError:
                raise DatabaseUnavailable("the database did not answer in time; nothing was changed") from None
        raise AssertionError("unreachable")


def checked(who: Who) -> tuple[str, str]:
    """Both parts as the audit trail takes them. Raises ValueNotAllowed if nobody is named."""
    if not who.name or not is_storable(who.name + who.origin):
        raise ValueNotAllowed("an action needs the name of whoever asks for it")
    return who.name[:MAX_WHO_CHARACTERS], who.origin[:MAX_WHO_CHARACTERS]
