"""Payloads that only another instance can read, since they lie in its own folder.

Status and counts of such an operation are in the database, so every instance answers for them. What is in the payload is not
lost: the instance that has it gives it back. So whoever asks here gets a 503 that names the other one, never a result without
documents.
"""

from contextlib import suppress
from uuid import UUID

from batchseal.errors import DatabaseUnavailable, PayloadUnavailable
from batchseal.store.fellows import Fellows
from batchseal.store.rows import OperationRow

RETRY_SECONDS = 10


class Elsewhere:
    """`shared` names the payload store of this instance, if others read it too."""

    def __init__(self, fellows: Fellows, instance: UUID, shared: str | None) -> None:
        self._fellows = fellows
        self._instance = instance
        self._shared = shared

    def is_readable(self, operation: OperationRow) -> bool:
        """Whether this instance can read the payload of the operation."""
        if operation.payload_store is None:
            return operation.instance == self._instance
        return operation.payload_store == self._shared

    async def require(self, operation: OperationRow) -> None:
        """Raises PayloadUnavailable, which names who can read the payload, if this instance cannot."""
        if self.is_readable(operation):
            return
        if operation.payload_store is not None:
            cause = f"the documents of operation {operation.id} are in the payload store {operation.payload_store!r}, which this"
            raise PayloadUnavailable(f"{cause} instance does not use", retry_after_seconds=RETRY_SECONDS)
        cause = f"the documents of operation {operation.id} are kept by another instance, ask {await self._address(operation)}"
        raise PayloadUnavailable(cause, retry_after_seconds=RETRY_SECONDS)

    async def _address(self, operation: OperationRow) -> str:
        """Where that instance listens itself. Replies name the advertised address, which may be the same for all."""
        with suppress(DatabaseUnavailable):
            if found := await self._fellows.address(operation.instance):
                away = "" if found.is_there else f" (it was last seen {found.seconds_ago:.0f} s ago)"
                return found.text + away
        host = f"[{operation.host}]" if ":" in operation.host else operation.host
        return f"{host}:{operation.port}"
