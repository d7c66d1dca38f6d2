"""External references that somebody else has sealed before: they are taken, as if the operation had been here and was purged.

A caller that hands such a reference in again is told so (0.0.7), and who asks for its result hears that it is not kept any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchseal.errors import TooLarge, ValueNotAllowed
from batchseal.operation import Mode
from batchseal.store.columns import MAX_KEY_BYTES, is_storable
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

# What the operations of such references say instead of a description.
DESCRIPTION = "sealed before the switch to this service"


@dataclass(frozen=True, slots=True)
class TakenReference:
    """`sealed_at` is when it was sealed, if that is known. That is the end of its operation: --reference-days count from it."""

    client_service: str
    reference: str
    sealed_at: datetime | None = None


def checked(one: TakenReference) -> TakenReference:
    """The same. Raises ValueNotAllowed or TooLarge for one that the database cannot store."""
    if not is_storable(one.reference) or not is_storable(one.client_service):
        raise ValueNotAllowed("the reference contains U+0000 or half a surrogate pair")
    if len(f"{one.client_service}{one.reference}".encode()) > MAX_KEY_BYTES:
        raise TooLarge("the reference is longer than the database can store")
    return one


class TakenReferences:
    """For the commands. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, advertised: tuple[str, int]) -> None:
        """`advertised` is the address of the service, which replies about these operations name."""
        self._database = database
        self._advertised = advertised

    async def mark(self, references: Sequence[TakenReference]) -> int:
        """Marks these as taken, in one transaction. Returns how many are new: what is taken already stays as it is."""
        columns = (
            [one.client_service for one in references],
            [one.reference for one in references],
            [one.sealed_at for one in references],
        )
        more = UUID(int=0), *self._advertised, Mode.ASYNC, DESCRIPTION
        async with self._database.connection() as connection:
            return int(await connection.fetchval(QUERIES["mark_references_taken"], *columns, *more))

    async def taken(self, references: Sequence[TakenReference]) -> int:
        """How many of these are taken."""
        columns = [one.client_service for one in references], [one.reference for one in references]
        async with self._database.connection() as connection:
            return int(await connection.fetchval(QUERIES["count_references_taken"], *columns))
