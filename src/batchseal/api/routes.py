"""The handlers of the contract's routes: signing, registering, status and results.

Each handler authenticates the caller, asks the service (`OfferedService`), and builds the reply.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Literal

from blacksheep import Content, Request, Response, StreamedContent

from batchseal.api import requests, result, schemas
from batchseal.api.archive import stream_archive
from batchseal.api.authentication import Authenticator
from batchseal.api.contract import Contract
from batchseal.api.exchange import Exchange
from batchseal.api.offered_service import Document, OfferedService, Operation, Records
from batchseal.api.problem import nothing_signed
from batchseal.api.raw import raw_document
from batchseal.errors import (
    NoRoom,
    NotConfigured,
    NotDoneInTime,
    NotFinished,
    NotFound,
    PayloadUnavailable,
    RecordGivenUp,
    RecordPending,
    ReferenceTaken,
)
from batchseal.operation import Caller, DocumentStatus, Form, Mode
from batchseal.settings.load import Settings

JSON = b"application/json"
# A result with less content than this is joined and sent as one piece.
SMALL_RESULT_BYTES = 1 << 20


def exchange_of(request: Request) -> Exchange:
    """The Exchange that the guard made for this request."""
    exchange: Exchange = request.scope["batchseal.exchange"]  # type: ignore[typeddict-item]
    return exchange


def header(request: Request, name: bytes) -> str | None:
    value = exchange_of(request).headers.get(name)
    return None if value is None else value.decode("latin-1")


def json_reply(body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> Response:
    return Response(status, list(headers), Content(JSON, body))


class Routes:
    """The handlers. Each has the name of its route in contract.toml."""

    def __init__(
        self, service: OfferedService, authenticator: Authenticator, contract: Contract, settings: Settings
    ) -> None:
        self.service = service
        self.authenticator = authenticator
        self.contract = contract
        self.settings = settings
        # What replies give as the address of the service, whichever instance took the request. Where none is told, it is the
        # address of that instance.
        self.advertised = settings.advertised if settings.advertised_address else None

    async def caller(self, request: Request) -> Caller:
        return await self.authenticator.caller(header(request, b"authorization"), exchange_of(request).peer)

    def status_address(self, request: Request, operation_id: int) -> str:
        """The path of an operation's status, under the base that the caller used."""
        address = exchange_of(request).address
        return self.contract.path("status_by_id", address.base if address else "", id=operation_id)

    # --- sign -----------------------------------------------------------------------------------------------

    async def sign_json(self, request: Request) -> Response:
        return await self.sign(request, "json")

    async def sign_files(self, request: Request) -> Response:
        return await self.sign(request, "multipart")

    async def register_json(self, request: Request) -> Response:
        return await self.register(request, "json")

    async def register_files(self, request: Request) -> Response:
        return await self.register(request, "multipart")

    async def receive(self, request: Request, caller: Caller, mode: Mode, form: Form) -> Operation:
        """Hands the request's body to the service, and returns the operation that it registered."""
        exchange = exchange_of(request)
        exchange.check_length()
        media_type = requests.check_media_type(header(request, b"content-type"), form)
        wants_record = requests.asks_for_record(exchange.scope["query_string"], self.contract.record_query)
        try:
            return await self.service.receive(
                caller,
                mode,
                form=form,
                media_type=media_type,
                body_bytes=exchange.length,
                chunks=exchange.body(),
                evidence_record=wants_record,
            )
        except ReferenceTaken as taken:
            taken.location = self.status_address(request, taken.operation_id)
            raise

    async def register(self, request: Request, form: Form) -> Response:
        caller = await self.caller(request)
        if caller.token is not None:
            raise NotConfigured("there is no client-services-config.json, so only synchronous requests are served")
        operation = await self.receive(request, caller, Mode.ASYNC, form)
        prefers_async = requests.parse_prefer(header(request, b"prefer")).respond_async
        headers = [
            (b"location", self.status_address(request, operation.id).encode()),
            (b"retry-after", b"%d" % retry_after_seconds(operation)),
        ]
        if prefers_async:
            headers.append((b"preference-applied", b"respond-async"))
        body = schemas.encode(schemas.registration(operation, self.contract.status, self.advertised))
        return json_reply(body, *headers, status=202 if prefers_async else 200)

    async def sign(self, request: Request, form: Form) -> Response:
        if requests.parse_prefer(header(request, b"prefer")).respond_async:
            return await self.register(request, form)
        caller = await self.caller(request)
        received = await self.receive(request, caller, Mode.SYNC, form)
        try:
            return await self.signed(request, caller, received)
        except (NoRoom, PayloadUnavailable) as late:
            # The documents are signed. The result can be fetched later, and must not be asked for by another request.
            late.location = self.status_address(request, received.id)
            late.operation_id = received.id
            raise

    async def signed(self, request: Request, caller: Caller, received: Operation) -> Response:
        """Waits for the end of a synchronous request, for `--sync.deadline` at most, and replies with its result."""
        result = self.service.finished_within(caller, received, self.settings.sync_deadline)
        finished = await exchange_of(request).unless_gone(result)
        if finished is None:
            late = NotDoneInTime(
                f"operation {received.id} is not finished yet; the work goes on, and the result can be fetched later",
                retry_after_seconds=retry_after_seconds(received),
                location=self.status_address(request, received.id),
            )
            late.operation_id = received.id
            raise late
        operation, documents = finished
        if operation.documents_signed == 0:
            failure = nothing_signed(documents)
            failure.operation_id = operation.id
            raise failure
        await self.reserve(request, caller, operation, documents)
        return await self.with_content(request, caller, operation, documents)

    # --- status and result ----------------------------------------------------------------------------------

    async def status_by_reference(self, request: Request) -> Response:
        caller, reference = await self.caller(request), self.reference(request)
        operations = await self.service.status(caller, reference)
        wait_seconds = requests.parse_prefer(header(request, b"prefer")).wait_seconds
        if wait_seconds and operations and not operations[0].status.finished:
            await exchange_of(request).unless_gone(self.service.wait(operations[0].id, wait_seconds, caller))
            operations = await self.service.status(caller, reference)
        if not operations:
            raise NotFound(f"no operation has the external reference {reference!r}")
        entries = [schemas.status_entry(operation, self.contract.status, self.advertised) for operation in operations]
        return json_reply(schemas.encode(entries), *waiting_headers(operations[0]))

    async def status_by_id(self, request: Request) -> Response:
        caller, operation_id = await self.caller(request), self.id(request)
        operation = await self.service.status_by_id(caller, operation_id)
        wait_seconds = requests.parse_prefer(header(request, b"prefer")).wait_seconds
        if wait_seconds and not operation.status.finished:
            await exchange_of(request).unless_gone(self.service.wait(operation_id, wait_seconds, caller))
            operation = await self.service.status_by_id(caller, operation_id)
        body = schemas.encode(schemas.status_entry(operation, self.contract.status, self.advertised))
        return json_reply(body, *waiting_headers(operation))

    async def result_by_reference(self, request: Request) -> Response:
        caller, reference = await self.caller(request), self.reference(request)
        operation, documents = await self.finished(caller, reference=reference)
        await self.reserve(request, caller, operation, documents)
        return await self.result(request, caller, operation, documents)

    async def result_by_id(self, request: Request) -> Response:
        caller = await self.caller(request)
        with_content = requests.parse_boolean(route_value(request, "contentInResponse"))
        operation, documents = await self.finished(caller, operation_id=self.id(request))
        if with_content:
            await self.reserve(request, caller, operation, documents)
            return await self.result(request, caller, operation, documents)
        return json_reply(result.without_content(operation, documents, self.contract.document))

    async def documents_by_id(self, request: Request) -> Response:
        caller = await self.caller(request)
        operation, documents = await self.finished(caller, operation_id=self.id(request))
        await self.reserve(request, caller, operation, documents)
        return await self.archive(request, caller, operation, documents)

    async def document_by_id(self, request: Request) -> Response:
        caller = await self.caller(request)
        operation, found = await self.finished_document(request, caller)
        await self.reserve(request, caller, operation, [found])
        delivered = await self.delivered(request, operation, [found], "raw")
        async for document in delivered:
            if document.row.status != DocumentStatus.SIGNED:
                raise NotFound(schemas.cause_of(document.row))
            return raw_document(operation, document, header(request, b"range"), header(request, b"if-range"))
        raise NotFound(f"document {found.ordinal} of operation {operation.id} does not exist")

    async def evidence_record(self, request: Request) -> Response:
        caller = await self.caller(request)
        operation, found = await self.finished_document(request, caller)
        if found.status != DocumentStatus.SIGNED:
            raise NotFound(schemas.cause_of(found))
        records = await self.service.evidence_records(operation)
        if (record := records.of(found.ordinal)) is None:
            raise NotFound(f"the evidence record of operation {operation.id} is not about document {found.ordinal}")
        name = b'attachment; filename="operation-%d-document-%d.ers"' % (operation.id, found.ordinal)
        return Response(200, [(b"content-disposition", name)], Content(b"application/octet-stream", record))

    async def operation_of_document(self, request: Request) -> Response:
        caller, reference = await self.caller(request), self.reference(request)
        operation_id = await self.service.operation_of_document(caller, reference)
        return json_reply(b"%d" % operation_id)

    # --- shared by the handlers ------------------------------------------------------------------------------------

    def reference(self, request: Request) -> str:
        address = exchange_of(request).address
        if address is None or not address.reference:
            raise NotFound("the address has no external reference")
        return address.reference

    def id(self, request: Request) -> int:
        return requests.parse_id(route_value(request, "id"))

    async def finished(
        self, caller: Caller, *, reference: str | None = None, operation_id: int | None = None
    ) -> tuple[Operation, Sequence[Document]]:
        """Like `OfferedService.finished_operation`; a NotFinished always says when to ask again."""
        try:
            return await self.service.finished_operation(caller, reference=reference, operation_id=operation_id)
        except NotFinished as early:
            early.retry_after_seconds = early.retry_after_seconds or 1
            raise

    async def reserve(
        self, request: Request, caller: Caller, operation: Operation, documents: Sequence[Document]
    ) -> None:
        """Reserves memory for the reply until the exchange ends.

        Raises NoRoom. Call it before the reply begins: only then can the caller still get a 503.
        """
        release = await self.service.admit_delivery(caller, operation, documents)
        exchange_of(request).cleanup.callback(release)

    async def finished_document(self, request: Request, caller: Caller) -> tuple[Operation, Document]:
        """The finished operation and the document that the address names. Raises NotFound, NotFinished, ResultExpired."""
        ordinal = requests.parse_id(route_value(request, "ordinal"))
        operation, documents = await self.finished(caller, operation_id=self.id(request))
        found = next((document for document in documents if document.ordinal == ordinal), None)
        if found is None:
            raise NotFound(f"operation {operation.id} has {operation.documents_total} documents, counted from 0")
        return operation, found

    def note_when_fetched(
        self, request: Request, caller: Caller, operation: Operation, delivered: result.FromStorage
    ) -> None:
        """Arranges that the service is told when the caller has the whole result.

        That is so once the last byte of a 200 reply is sent and storage gave back every signed document undamaged.
        """
        exchange = exchange_of(request)

        async def note() -> None:
            whole = exchange.replied and exchange.status == 200 and exchange.scope["method"] != "HEAD"
            if whole and delivered.intact:
                await self.service.fetched(caller, operation.id)

        exchange.cleanup.push_async_callback(note)

    async def delivered(
        self,
        request: Request,
        operation: Operation,
        documents: Sequence[Document],
        encoding: Literal["base64", "raw"],
    ) -> result.FromStorage:
        """Opens the stored documents, encoded as asked. They are closed with the exchange, however it ends.

        Raises PayloadUnavailable before the reply begins, so that the caller gets a 503.
        """
        delivered = self.service.deliver(operation, documents, encoding=encoding)
        if (aclose := getattr(delivered, "aclose", None)) is not None:
            exchange_of(request).cleanup.push_async_callback(aclose)
        return await result.FromStorage(delivered, documents).begin()

    async def result(
        self, request: Request, caller: Caller, operation: Operation, documents: Sequence[Document]
    ) -> Response:
        if requests.wants_zip(header(request, b"accept")):
            return await self.archive(request, caller, operation, documents)
        return await self.with_content(request, caller, operation, documents)

    async def with_content(
        self, request: Request, caller: Caller, operation: Operation, documents: Sequence[Document]
    ) -> Response:
        delivered = await self.delivered(request, operation, documents, "base64")
        self.note_when_fetched(request, caller, operation, delivered)
        content = partial(result.stream_with_content, operation, delivered, self.contract.document)
        headers = [(b"vary", b"accept")]
        if result.result_bytes(documents) > SMALL_RESULT_BYTES:
            return Response(200, headers, StreamedContent(JSON, content))
        # For a small result, joining the pieces costs less than sending each of them.
        whole = b"".join([piece async for piece in content()])
        return Response(200, headers, StreamedContent(JSON, partial(in_one_piece, whole), len(whole)))

    async def archive(
        self, request: Request, caller: Caller, operation: Operation, documents: Sequence[Document]
    ) -> Response:
        delivered = await self.delivered(request, operation, documents, "raw")
        self.note_when_fetched(request, caller, operation, delivered)
        try:
            records: Records | None = await self.service.evidence_records(operation)
        except (NotFound, RecordPending, RecordGivenUp):
            records = None  # none was asked for, or it follows, or never comes: its own address says which
        content = partial(stream_archive, operation, delivered, records)
        name = b'attachment; filename="operation-%d.zip"' % operation.id
        headers = [(b"vary", b"accept"), (b"content-disposition", name)]
        return Response(200, headers, StreamedContent(requests.ZIP.encode(), content))


async def in_one_piece(body: bytes) -> AsyncIterator[bytes]:
    """Yields `body` whole. BlackSheep would send a `Content` in pieces of 60 KB."""
    yield body


def route_value(request: Request, name: str) -> str:
    return (request.route_values or {}).get(name) or ""


def retry_after_seconds(operation: Operation) -> int:
    """When the caller should ask again: about how long signing takes, 1 to 10 seconds."""
    return min(10, 1 + operation.documents_total // 500)


def waiting_headers(operation: Operation) -> list[tuple[bytes, bytes]]:
    """A Retry-After header if the operation is not finished."""
    return [] if operation.status.finished else [(b"retry-after", b"%d" % retry_after_seconds(operation))]
