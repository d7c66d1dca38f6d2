"""What is sent of an event: the field `type`, the time, and ids, counts and links. Content is fetched by the receiver itself."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from batchseal.api.contract import Contract
from batchseal.settings.webhooks import CREDENTIAL_EXPIRING, OPERATION_FAILED, OPERATION_FINISHED
from batchseal.store.webhooks import EventKind, EventRow

TYPES = {
    EventKind.OPERATION_FINISHED: OPERATION_FINISHED,
    EventKind.OPERATION_FAILED: OPERATION_FAILED,
    EventKind.CREDENTIAL_EXPIRING: CREDENTIAL_EXPIRING,
}
# The event that `batchseal webhooks test` sends. It is about nothing.
TEST = "webhook.test"


def event_id(event: EventRow) -> str:
    """The id by which a receiver knows an event, however often it is delivered."""
    return as_id(event.id)


def as_id(number: UUID) -> str:
    return f"evt_{number.hex}"


def event_body(event: EventRow, contract: Contract) -> bytes:
    """The body of a delivery, in JSON. It is the same at each try. `contract` has the addresses of the links."""
    data = json.loads(event.details) if event.operation_id is None else _about_operation(event, contract)
    return encoded(TYPES[event.kind], event.occurred_at, data)


def encoded(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    timestamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}, ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def _about_operation(event: EventRow, contract: Contract) -> dict[str, Any]:
    assert event.operation_id is not None and event.operation_status is not None
    number = event.operation_id
    return {
        "id": number,
        "externalReference": event.external_reference,
        "status": event.operation_status.name,
        "documentsTotal": event.documents_total,
        "documentsSigned": event.documents_signed,
        "documentsFailed": event.documents_failed,
        # Paths, as in the header Location: the receiver knows the host at which it reaches the service.
        "links": {
            "status": contract.path("status_by_id", id=number),
            "result": contract.path("result_by_id", id=number, contentInResponse="true"),
            "documents": contract.path("documents_by_id", id=number),
        },
    }
