"""`OperatorStore`: all that the operator's page and `batchseal operations` read, and the actions that they ask for.

It has connections of its own, in a role of its own, which reads the rows of all client services and can write none: every change
is a function of the database (migration 0017), which also writes the audit entry. Every statement for a page ends after
STATEMENT_SECONDS at the latest, and lists are read in pages by a key: no list counts or sorts a whole table.

Every method raises DatabaseUnavailable while the database cannot be reached. A cursor that this module did not make raises
ValueNotAllowed.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime

from batchseal.settings.load import Settings
from batchseal.store.database import Database
from batchseal.store.operator_rows import (
    DOCUMENTS_A_PAGE,
    ENTRIES_A_PAGE,
    OPERATIONS_A_PAGE,
    Alarm,
    AuditLine,
    AuditState,
    ClientServiceLine,
    Consumption,
    Count,
    CredentialLine,
    DocumentLine,
    DocumentSearch,
    Done,
    Failures,
    FoundDocument,
    InstanceLine,
    OperationDetail,
    OperationFilter,
    OperationLine,
    Overview,
    Page,
    Sample,
    Storage,
    TimeStampLine,
    Who,
)

STATEMENT_SECONDS = 2.0


class OperatorStore:
    """One for each process that serves the page, and one for each command."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    @classmethod
    async def connect(cls, settings: Settings, *, pool_size: int = 3) -> "OperatorStore":
        """Connects to the database of the settings, in the operator's role.

        Raises ConfigurationError where there is no such role, with the statements that make it.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Closes the connections."""
        await self._database.close()

    # --- pages ------------------------------------------------------------------------------------------------------

    async def overview(self) -> Overview:
        """The figures of the first page. What the upstream says of itself comes over the link to the signer."""
        raise NotImplementedError

    async def alarms(self) -> list[Alarm]:
        """What an operator should look at, the worst first, as far as the database knows it."""
        raise NotImplementedError

    async def operations(
        self, wanted: OperationFilter, cursor: str | None = None, limit: int = OPERATIONS_A_PAGE
    ) -> Page[OperationLine]:
        """A page of the list, the newest first; with a prefix of the reference, by client service and reference."""
        raise NotImplementedError

    def all_operations(self, wanted: OperationFilter) -> AsyncIterator[Sequence[OperationLine]]:
        """The whole list in parts, for CSV. Each part is a statement of its own."""
        raise NotImplementedError

    async def count(self, wanted: OperationFilter, at_most: int = 10_000) -> Count:
        """How many operations the filter finds, for the question before an action. Counts `at_most`, and says if there are more."""
        raise NotImplementedError

    async def operation(self, operation_id: int) -> OperationDetail | None:
        """One operation, None if there is none with this id."""
        raise NotImplementedError

    async def documents(
        self, operation_id: int, *, failed: bool = False, cursor: str | None = None, limit: int = DOCUMENTS_A_PAGE
    ) -> Page[DocumentLine]:
        """Documents of an operation in the order of the request; with `failed` only those that failed."""
        raise NotImplementedError

    async def find_documents(
        self, wanted: DocumentSearch, cursor: str | None = None, limit: int = DOCUMENTS_A_PAGE
    ) -> Page[FoundDocument]:
        """Documents by their reference, or by a part of their name, the newest first.

        A search by name looks at a bounded number of documents for each page, see `Page`. Raises ValueNotAllowed for a search
        that is empty, or whose range is too long.
        """
        raise NotImplementedError

    async def failures(
        self, since: datetime | None = None, until: datetime | None = None, client_service: str = ""
    ) -> Failures:
        """Failed documents grouped by error and cause: those of operations registered in this time (default: the last 7 days)."""
        raise NotImplementedError

    async def client_services(self) -> list[ClientServiceLine]:
        """All client services that have ever used this database, by name."""
        raise NotImplementedError

    async def consumption(self, first: date, last: date, client_service: str = "") -> list[Consumption]:
        """What was used in the months from `first` to `last` (any day of them), by month and client service."""
        raise NotImplementedError

    async def credentials(self) -> list[CredentialLine]:
        """The credentials that signers have noted, those that end first come first."""
        raise NotImplementedError

    async def time_stamps(self) -> list[TimeStampLine]:
        """The time stamp authorities that were ever asked, by address."""
        raise NotImplementedError

    async def instances(self) -> list[InstanceLine]:
        """All instances that were ever here and were not forgotten, the one that started first comes first."""
        raise NotImplementedError

    async def storage(self) -> Storage:
        """What is stored, by state."""
        raise NotImplementedError

    async def samples(
        self, metrics: Sequence[str], since: datetime, until: datetime, step_seconds: float = 60.0
    ) -> dict[str, list[Sample]]:
        """For each of these metrics, its samples in steps, the oldest first. The names are in `store/samples.py`."""
        raise NotImplementedError

    async def audit(self, cursor: str | None = None, limit: int = ENTRIES_A_PAGE) -> Page[AuditLine]:
        """Entries of the audit trail, the newest first; those that are not in the chain yet come before all others."""
        raise NotImplementedError

    async def audit_state(self) -> AuditState:
        """The end of the chain and the exports."""
        raise NotImplementedError

    # --- actions ----------------------------------------------------------------------------------------------------

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
        raise NotImplementedError

    async def cancel(self, who: Who, operation_ids: Sequence[int]) -> list[Done]:
        """Ends unfinished operations: what is not signed yet fails with `cancelled by an operator`. Their references stay taken."""
        raise NotImplementedError

    async def purge(self, who: Who, operation_ids: Sequence[int]) -> list[Done]:
        """Has the payloads of finished operations purged within a minute or so, whether they were fetched or not."""
        raise NotImplementedError

    def retry_all(
        self, who: Who, wanted: OperationFilter, *, also_fetched: bool = False, everything: bool = False
    ) -> AsyncIterator[list[Done]]:
        """`retry` for all that a filter finds, in parts, each of which is a transaction of its own."""
        raise NotImplementedError

    def cancel_all(self, who: Who, wanted: OperationFilter) -> AsyncIterator[list[Done]]:
        """`cancel` for all that a filter finds."""
        raise NotImplementedError

    def purge_all(self, who: Who, wanted: OperationFilter) -> AsyncIterator[list[Done]]:
        """`purge` for all that a filter finds."""
        raise NotImplementedError

    async def note(self, who: Who, detail: str) -> None:
        """Leaves an entry in the audit trail for an action that is about no operation, with what was done in words."""
        raise NotImplementedError
