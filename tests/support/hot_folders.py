"""Hot folders in tests: the folders of a client service, a stand-in for what signs, and what must be true of files at the end."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from batchseal.document import Description, ReceivedDocument, RequestFacts
from batchseal.errors import NotFound, ReferenceTaken, ResultExpired
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus
from batchseal.pipeline.encode import Delivered
from batchseal.store.rows import DocumentRow, OperationRow


class SigningDouble:
    """Stands in for the service behind the folders: it keeps operations in memory, and lets them outlive whoever asks it.

    A document is "signed" by a text behind it. Those whose content begins with `bad` are refused. `signed` counts how often each
    content was signed.
    """

    SIGNATURE = b" signed"

    def __init__(self) -> None:
        self.operations: dict[int, tuple[OperationRow, list[DocumentRow], list[bytes]]] = {}
        self.fetched_ids: list[int] = []
        self.expired: set[int] = set()
        self.largest_document_bytes = self.largest_batch_bytes = 1 << 20
        self.suffixes: dict[int, str] = {}
        self.before_registration: Callable[[], None] = lambda: None

    def signed_contents(self) -> list[bytes]:
        return [content for _, _, contents in self.operations.values() for content in contents]

    async def take_in(
        self,
        caller: Caller,
        mode: Mode,
        facts: RequestFacts,
        documents: Any,
        *,
        documents_bytes: int,
    ) -> OperationRow:
        assert mode is Mode.HOT_FOLDER
        received: list[ReceivedDocument] = []
        async with aclosing(documents(Unbooked())) as coming:
            async for batch in coming:
                received += [replace_content(one) for one in batch]
        assert [one.ordinal for one in received] == list(range(facts.documents_total))
        assert sum(one.content_bytes for one in received) == documents_bytes
        self.before_registration()
        for row, _, _ in self.operations.values():
            if row.external_reference == facts.external_reference:
                raise ReferenceTaken(facts.external_reference, row.id)
        number = len(self.operations) + 1
        rows = [self._row(one) for one in received]
        failed = sum(row.status is DocumentStatus.ERROR_SIGNING for row in rows)
        row = operation_row(number, caller, facts, failed)
        self.operations[number] = row, rows, [bytes(one.content) for one in received]
        return row

    def _row(self, one: ReceivedDocument) -> DocumentRow:
        wanted = one.description
        assert isinstance(wanted, Description)
        bad = bytes(one.content).startswith(b"bad")
        status = DocumentStatus.ERROR_SIGNING if bad else DocumentStatus.SIGNED
        cause = "it is bad" if bad else None
        facts = wanted.external_reference, wanted.name, wanted.content_type
        return DocumentRow(one.ordinal, *facts, status, None, cause, one.content_bytes, len(self.SIGNATURE))

    async def status(self, caller: Caller, reference: str) -> list[OperationRow]:
        found = [row for row, _, _ in self.operations.values() if row.external_reference == reference]
        if not found:
            raise NotFound("no operation has this external reference")
        return found

    async def status_by_id(self, caller: Caller, operation_id: int) -> OperationRow:
        return self.operations[operation_id][0]

    async def wait(self, operation_id: int, seconds: float, caller: Caller | None = None) -> bool:
        return True

    async def finished_operation(self, caller: Caller, *, operation_id: int) -> tuple[OperationRow, list[DocumentRow]]:
        if operation_id in self.expired:
            raise ResultExpired("the result is no longer kept")
        row, documents, _ = self.operations[operation_id]
        return row, documents

    async def admit_delivery(self, caller: Caller, operation: OperationRow, rows: Sequence[DocumentRow]) -> Any:
        return lambda: None

    async def deliver(
        self, operation: OperationRow, rows: Sequence[DocumentRow], *, encoding: str
    ) -> AsyncIterator[Delivered]:
        _, _, contents = self.operations[operation.id]
        for row in rows:
            suffix = ".p7m" if row.content_type.name == "OTHER" else ""
            yield Delivered(row, (contents[row.ordinal], self.SIGNATURE), suffix=suffix)

    async def fetched(self, caller: Caller, operation_id: int) -> None:
        self.fetched_ids.append(operation_id)


@dataclass
class Unbooked:
    """Memory that nobody counts."""

    sizes: list[int] = field(default_factory=list)

    async def grows(self, more_bytes: int) -> None:
        self.sizes.append(more_bytes)

    def complete(self, sizes: Sequence[int]) -> None:
        pass

    def comes_in_parts(self, size: int) -> bool:
        return False


def replace_content(one: ReceivedDocument) -> ReceivedDocument:
    return ReceivedDocument(one.ordinal, bytes(one.content), one.content_bytes, one.description)


def operation_row(number: int, caller: Caller, facts: RequestFacts, failed: int) -> OperationRow:
    total = facts.documents_total
    row = OperationRow(
        id=number,
        payload_id=uuid4(),
        client_service=caller.client_service,
        external_reference=facts.external_reference,
        description=facts.description,
        mode=Mode.HOT_FOLDER,
        status=OperationStatus.EXECUTED,
        created_at=datetime.now(UTC),
        finished_at=datetime.now(UTC),
        instance=uuid4(),
        host="127.0.0.1",
        port=1,
        documents_total=total,
        documents_signed=total - failed,
        documents_failed=failed,
        return_signed_content=None,
        payload_purged=False,
    )
    return replace(row, status=OperationStatus.EXECUTION_FAILED) if failed else row
