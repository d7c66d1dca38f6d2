"""What a worker offers to the API, as the API sees it: one service object, and the rows and documents that it returns.

These are protocols (structural types). Nothing derives from them: `worker.service.Service`, the rows of `store/` and the
delivered documents of `pipeline/` have these members, and so have the doubles of the tests.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from batchseal.operation import Caller, ContentType, DocumentStatus, Mode, OperationStatus, SignError


class Operation(Protocol):
    """A row of operations."""

    @property
    def id(self) -> int: ...
    @property
    def client_service(self) -> str: ...
    @property
    def external_reference(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def status(self) -> OperationStatus: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def documents_total(self) -> int: ...
    @property
    def documents_signed(self) -> int: ...
    @property
    def documents_failed(self) -> int: ...


class Document(Protocol):
    """A row of documents; `ordinal` counts from 0 in the order of the request, sizes are bytes."""

    @property
    def ordinal(self) -> int: ...
    @property
    def external_reference(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def content_type(self) -> ContentType: ...
    @property
    def status(self) -> DocumentStatus: ...
    @property
    def sign_error(self) -> SignError | None: ...
    @property
    def cause(self) -> str | None: ...
    @property
    def content_bytes(self) -> int: ...
    @property
    def additional_bytes(self) -> int: ...


class Delivered(Protocol):
    """A document as it really ended, and its signed file in order; no segments where there is none."""

    @property
    def row(self) -> Document: ...
    @property
    def segments(self) -> Sequence[bytes]: ...


class OfferedService(Protocol):
    """The service behind the API, in production `worker.service.Service`.

    Each method raises an ApiError whose text is sent to the caller.
    """

    async def receive(
        self,
        caller: Caller,
        mode: Mode,
        *,
        form: Literal["json", "multipart"],
        media_type: str,
        body_bytes: int | None,
        chunks: AsyncIterator[bytes],
    ) -> Operation: ...

    async def wait(self, operation_id: int, seconds: float) -> bool: ...

    async def status(self, caller: Caller, reference: str) -> Sequence[Operation]: ...

    async def status_by_id(self, caller: Caller, id: int) -> Operation: ...

    async def finished_operation(
        self, caller: Caller, *, reference: str | None = None, operation_id: int | None = None
    ) -> tuple[Operation, Sequence[Document]]: ...

    async def finished_within(
        self, caller: Caller, received: Any, seconds: float
    ) -> tuple[Operation, Sequence[Document]] | None: ...

    async def fetched(self, caller: Caller, operation_id: int) -> None: ...

    async def operation_of_document(self, caller: Caller, reference: str) -> int: ...

    async def admit_delivery(self, result_bytes: int) -> Callable[[], None]: ...

    def deliver(
        self, operation: Any, documents: Sequence[Any], *, encoding: Literal["base64", "raw"]
    ) -> AsyncIterator[Delivered]: ...

    async def probe(self, token: str) -> str | None: ...

    async def ready(self) -> dict[str, str]: ...

    async def numbers(self) -> dict[str, float]: ...
