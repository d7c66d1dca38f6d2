"""Writes a finished operation as JSON, one document at a time as storage delivers it.

A large reply is never whole in memory.
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence

from batchseal.api import schemas
from batchseal.api.offered_service import Delivered, Document, Operation
from batchseal.operation import DocumentStatus, OperationStatus

# Pieces smaller than this are joined before they are sent, because each `send` costs about 15 microseconds.
REPLY_PIECE_BYTES = 128 << 10
# The pieces of a document that is larger than this are sent as they come, since the server keeps several pieces of a caller that
# does not read.
LARGE_BYTES = 512 << 10


class Pieces:
    """Joins small pieces of a reply, and passes large ones on without copying them."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0

    def add(self, piece: bytes, *, pass_on: bool = False) -> list[bytes]:
        """Adds a piece. Returns the pieces that should be sent now, in order. With `pass_on` it is among them in any case."""
        if pass_on or len(piece) >= REPLY_PIECE_BYTES:
            return [*self.flush(), *split(piece)]
        self._held.append(piece)
        self._held_bytes += len(piece)
        return self.flush() if self._held_bytes >= REPLY_PIECE_BYTES else []

    def flush(self) -> list[bytes]:
        """Returns what is still held, as at most one piece. It is never an empty piece, which would end the reply."""
        held, self._held, self._held_bytes = self._held, [], 0
        return [whole] if (whole := b"".join(held)) else []


def split(piece: bytes) -> Sequence[bytes]:
    """Cuts a large piece into parts of at most four times REPLY_PIECE_BYTES, since the server keeps several in memory."""
    limit = 4 * REPLY_PIECE_BYTES
    if len(piece) <= limit:
        return [piece]
    view = memoryview(piece)
    return [bytes(view[at : at + limit]) for at in range(0, len(piece), limit)]


def result_bytes(documents: Sequence[Document]) -> int:
    """What the signed documents take at most."""
    return sum(document.content_bytes + document.additional_bytes for document in documents)


class FromStorage:
    """Iterates over the delivered documents of a result, and knows whether storage gave all of them back.

    `documents` are the rows of the same documents.
    """

    def __init__(self, delivered: AsyncIterator[Delivered], documents: Sequence[Document]) -> None:
        self._delivered = delivered
        self._first: Delivered | None = None
        # Signed documents that have not come back from storage.
        self._missing = sum(document.status == DocumentStatus.SIGNED for document in documents)

    @property
    def intact(self) -> bool:
        """True once every signed document has come back undamaged."""
        return self._missing == 0

    async def begin(self) -> "FromStorage":
        """Reads the first document and returns self.

        Raises PayloadUnavailable. Call it before the reply begins: only then can the caller still get a 503.
        """
        self._first = await anext(self._delivered, None)
        return self

    async def __aiter__(self) -> AsyncIterator[Delivered]:
        if self._first is not None:
            yield self._counted(self._first)
        async for document in self._delivered:
            yield self._counted(document)

    def _counted(self, document: Delivered) -> Delivered:
        self._missing -= document.row.status == DocumentStatus.SIGNED
        return document


async def stream_with_content(
    operation: Operation, delivered: AsyncIterable[Delivered], names: Mapping[str, str]
) -> AsyncIterator[bytes]:
    """Yields the JSON of a SignOperation with `signedContent`. `delivered` must have base64 segments.

    `status` is written after `documentList`, because storage may find a document damaged while the reply is sent. That
    document becomes ERROR_SIGNING and the operation EXECUTION_FAILED in this reply. Raises ConnectionResetError, which cuts
    the reply off, if storage gives back fewer documents than the operation has.
    """
    pieces = Pieces()
    status, count, separator = operation.status, 0, b""
    head, tail = around_documents(operation, status)
    for piece in pieces.add(head):
        yield piece
    async for document in delivered:
        if document.row.status != DocumentStatus.SIGNED:
            status = OperationStatus.EXECUTION_FAILED
        entry = schemas.encode(schemas.signed_document(operation, document.row, names))
        count += 1
        if document.total_bytes:
            for piece in pieces.add(separator + entry[:-1] + b',"signedContent":"'):
                yield piece
            async for content in document.pieces():
                for piece in pieces.add(content, pass_on=document.total_bytes > LARGE_BYTES):
                    yield piece
            entry, separator = b'"}', b""
        for piece in pieces.add(separator + entry):
            yield piece
        separator = b","
    if count != operation.documents_total:
        raise ConnectionResetError(f"{count} of {operation.documents_total} documents came from storage")
    if status is not operation.status:
        _, tail = around_documents(operation, status)
    for piece in [*pieces.add(tail), *pieces.flush()]:
        yield piece


def without_content(operation: Operation, documents: Sequence[Document], names: Mapping[str, str]) -> bytes:
    """The JSON of a SignOperation without `signedContent`."""
    head, tail = around_documents(operation, operation.status)
    return head + b",".join(schemas.encode(schemas.signed_document(operation, d, names)) for d in documents) + tail


def around_documents(operation: Operation, status: OperationStatus) -> tuple[bytes, bytes]:
    """The JSON before the first document, and the JSON after the last one."""
    fields = schemas.sign_operation(operation, status)
    del fields["documentList"]
    after = {name: fields.pop(name) for name in ("executionTime", "status") if name in fields}
    return schemas.encode(fields)[:-1] + b',"documentList":[', b"]," + schemas.encode(after)[1:]
