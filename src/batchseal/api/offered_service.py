"""What a worker offers to the API, as the API sees it: one service object, and the rows and documents that it returns.

These are protocols (structural types). Nothing derives from them: `worker.service.Service`, the rows of `store/` and the
delivered documents of `pipeline/` have these members, and so have the doubles of the tests.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.signature import Level


class Operation(Protocol):
    """One operation: a row of the table `operations`. Times have an offset; `host` and `port` are the advertised address."""

    @property
    def id(self) -> int: ...
    @property
    def client_service(self) -> str: ...
    @property
    def external_reference(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def mode(self) -> Mode: ...
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
    """One document: a row of the table `documents`.

    `ordinal` is its place in the request, from 0. `content_bytes` is the size of the original, and `additional_bytes` what
    the signature adds to it, or the size of a signature that is a file of its own. `sign_error` and `cause` say why it was not
    signed. `level` is that of the signature, where it is known.
    """

    @property
    def ordinal(self) -> int: ...
    @property
    def external_reference(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
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
    @property
    def level(self) -> Level | None: ...


class Delivered(Protocol):
    """A document as storage gave it back.

    `total_bytes` is the length of the signed document, raw or as base64. It is 0 if the document is not signed or its payload is
    damaged; `row` then says so, even if the stored row says SIGNED. `media_type` is that of the signed document, and `suffix`
    (such as `.p7m`) comes behind its name where it is of another type than the original.
    """

    @property
    def row(self) -> Document: ...
    @property
    def media_type(self) -> str: ...
    @property
    def suffix(self) -> str: ...
    @property
    def total_bytes(self) -> int: ...

    def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yields the document from `start` to `stop`. A large one is read while it is sent, before the next one is asked for.

        Raises PayloadUnavailable, so that the reply is cut. Only a raw document can be asked for in part.
        """


class Records(Protocol):
    """The evidence records of one operation."""

    def of(self, ordinal: int) -> bytes | None:
        """The record of a document (a DER EvidenceRecord of RFC 4998); None for a document that it is not about."""


class OfferedService(Protocol):
    """The service behind the API, in production `worker.service.Service`.

    A method that fails raises an ApiError, whose text is sent to the caller.
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
        evidence_record: bool = False,
    ) -> Operation:
        """Accepts a sign request and returns its operation. A request that is refused leaves nothing behind.

        `body_bytes` is the Content-Length, or None for a chunked body. In asynchronous mode the operation is durable when
        this returns. In synchronous mode it is durable when `finished_within` returns. With `evidence_record` the request asks
        for one.
        """

    async def wait(self, operation_id: int, seconds: float, caller: Caller) -> bool:
        """Returns True once the caller's operation is finished, or False after `seconds`.

        It may sooner return False, if the service is to stop. The operation may be signed by another instance.
        """

    async def status(self, caller: Caller, reference: str) -> Sequence[Operation]:
        """The caller's operations with this external reference, newest first. Without any: none, or raises NotFound."""

    async def status_by_id(self, caller: Caller, id: int) -> Operation:
        """The caller's operation with this id. Raises NotFound."""

    async def finished_operation(
        self, caller: Caller, *, reference: str | None = None, operation_id: int | None = None
    ) -> tuple[Operation, Sequence[Document]]:
        """A finished operation and its documents in the order of the request; either argument names it.

        Raises NotFound, NotFinished or ResultExpired.
        """

    async def finished_within(
        self, caller: Caller, received: Any, seconds: float
    ) -> tuple[Operation, Sequence[Document]] | None:
        """Waits until `received` is finished, then like `finished_operation`. Returns None after `seconds`.

        `received` is what `receive` returned.
        """

    async def fetched(self, caller: Caller, operation_id: int) -> None:
        """Notes that the caller has received the whole result, so that its payload may be purged after a while."""

    async def operation_of_document(self, caller: Caller, reference: str) -> int:
        """Id of the caller's newest operation that has a document with this external reference. Raises NotFound."""

    async def admit_delivery(self, caller: Caller, operation: Any, documents: Sequence[Any]) -> Callable[[], None]:
        """Reserves the memory that a reply with these documents holds. Returns the function that releases it. Raises NoRoom."""

    def deliver(
        self, operation: Any, documents: Sequence[Any], *, encoding: Literal["base64", "raw"]
    ) -> AsyncIterator[Delivered]:
        """Yields the documents in the order given. Raises PayloadUnavailable if the payload cannot be read now."""

    async def evidence_records(self, operation: Any) -> Records:
        """The evidence records of a finished operation.

        Raises NotFound where none was asked for, RecordPending, RecordGivenUp.
        """

    async def probe(self, token: str) -> str | None:
        """Asks the signing service about a foreign token: see `Authenticator`."""

    async def ready(self) -> dict[str, str]:
        """The state of each part, by its name: "ok", "warning: ..." or what is wrong."""

    async def numbers(self) -> dict[str, float]:
        """Numbers for `/metrics`, by name. Names that end in `_total` are counters, the others are gauges."""
