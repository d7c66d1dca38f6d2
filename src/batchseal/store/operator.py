"""`OperatorStore`: all that the operator's page and `batchseal operations` read, and the actions that they ask for.

It has connections of its own, in a role of its own, which reads the rows of all client services and can write none: every change
is a function of the database (migrations 0017 and 0023), which also writes the audit entry. Every statement for a page ends after
STATEMENT_SECONDS at the latest, and lists are read in pages by a key: no list counts or sorts a whole table.

Every method raises DatabaseUnavailable while the database cannot be reached, or takes too long. A cursor that no list has given
raises ValueNotAllowed.

The parts: `operator_connection`, `operator_lists`, `operator_details`, `operator_actions`, `operator_figures`,
`operator_webhooks`; the types are in `operator_rows`.
"""

from batchseal.store.operator_alarms import alarms_of
from batchseal.store.operator_connection import STATEMENT_SECONDS, Bounds
from batchseal.store.operator_figure_rows import (
    Alarm,
    AuditLine,
    AuditState,
    ClientServiceLine,
    Consumption,
    CredentialLine,
    InstanceLine,
    Overview,
    Sample,
    Storage,
    StorageShare,
    TimeStampLine,
)
from batchseal.store.operator_rows import (
    Count,
    DocumentLine,
    DocumentSearch,
    Done,
    Event,
    FailureGroup,
    Failures,
    FoundDocument,
    OperationDetail,
    OperationFilter,
    OperationLine,
    Page,
    UpstreamCall,
    Who,
)
from batchseal.store.operator_webhooks import OperatorWebhooks

__all__ = [
    "STATEMENT_SECONDS",
    "Alarm",
    "AuditLine",
    "AuditState",
    "Bounds",
    "ClientServiceLine",
    "Consumption",
    "Count",
    "CredentialLine",
    "DocumentLine",
    "DocumentSearch",
    "Done",
    "Event",
    "FailureGroup",
    "Failures",
    "FoundDocument",
    "InstanceLine",
    "OperationDetail",
    "OperationFilter",
    "OperationLine",
    "OperatorStore",
    "Overview",
    "Page",
    "Sample",
    "Storage",
    "StorageShare",
    "TimeStampLine",
    "UpstreamCall",
    "Who",
]


class OperatorStore(OperatorWebhooks):
    """One for each process that serves the page, and one for each command."""

    async def alarms(self) -> list[Alarm]:
        """What an operator should look at, the worst first, as far as the database knows it."""
        return alarms_of(await self.overview(), await self.credentials(), await self.instances())
