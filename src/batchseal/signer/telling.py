"""What is counted and logged of operations: how they ended, and what was lost or taken over."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import structlog

from batchseal.document import DocumentOutcome
from batchseal.errors import LeaseLost
from batchseal.operation import OperationStatus
from batchseal.store.rows import OperationRow
from batchseal.system.telemetry.context import REQUEST_ID, TRACE_PARENT
from batchseal.system.telemetry.events import Category, security_event
from batchseal.system.telemetry.meter import METER

log = structlog.get_logger("signer")


class Webhooks(Protocol):
    """Those who tell client services of the ends of operations (notify/). The end itself leaves the event in the database."""

    def wake(self) -> None: ...

    def remarks(self) -> list[str]: ...

    def numbers(self) -> dict[str, float]: ...


def follow(row: OperationRow, instance: UUID | None) -> None:
    """From now on the present task works for this operation: its lines and spans belong to the request that brought it."""
    REQUEST_ID.set(row.request_id or "")
    TRACE_PARENT.set(row.trace_parent or "")
    if instance is not None and row.instance != instance:
        METER.add("batchseal_takeovers_total")


def tell_outcomes(row: OperationRow, outcomes: Sequence[DocumentOutcome]) -> None:
    """Counts documents that have ended."""
    failed = sum(outcome.refusal is not None for outcome in outcomes)
    if failed:
        METER.add("batchseal_documents_failed_total", row.client_service, amount=failed)
    if signed := len(outcomes) - failed:
        METER.add("batchseal_documents_signed_total", row.client_service, amount=signed)


def tell_end(row: OperationRow, failed: int, seconds: float, age_seconds: float) -> None:
    """The one line about the end of an operation. `seconds`: of its last run."""
    status = OperationStatus.EXECUTION_FAILED if failed else OperationStatus.EXECUTED
    METER.add("batchseal_operations_finished_total", row.mode.name.lower(), status.name)
    METER.observe("batchseal_operation_seconds", row.mode.name.lower(), value=max(0.0, age_seconds))
    log.info(
        "operation finished",
        operation=row.id,
        status=status.name,
        documents=row.documents_total,
        failed=failed,
        seconds=round(seconds, 3),
        age_seconds=round(age_seconds, 3),
        mode=row.mode.name,
        client_service=row.client_service,
        external_reference=row.external_reference,
    )


def tell_lost(row: OperationRow, problem: LeaseLost) -> None:
    METER.add("batchseal_leases_lost_total")
    said = "gave an operation up to its new holder"
    security_event(said, Category.PROCESS, "lease-lost", success=False, operation=row.id, cause=problem.cause)
