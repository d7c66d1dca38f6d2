"""The reply with one signed document, or with a range of its bytes."""

from collections.abc import AsyncIterator
from urllib.parse import quote

from blacksheep import Content, Response, StreamedContent

from batchseal.api.offered_service import Delivered, Operation
from batchseal.api.requests import Slice, parse_range
from batchseal.api.result import split


def raw_document(operation: Operation, document: Delivered, range_header: str | None, if_range: str | None) -> Response:
    """200 with the whole document, 206 with the range that was asked for, or 416 if that range does not exist.

    `document` must be raw. A signed document never changes, so its ETag is the operation's id and the ordinal.
    """
    total = document.total_bytes
    tag = f'"{operation.id}-{document.row.ordinal}"'
    wanted = parse_range(range_header, total) if if_range in (None, tag) else None
    headers = [
        (b"accept-ranges", b"bytes"),
        (b"etag", tag.encode()),
        (
            b"content-disposition",
            b"attachment; filename*=UTF-8''" + quote(document.row.name + document.suffix, safe="").encode(),
        ),
    ]
    media_type = document.media_type.encode()
    if wanted is None:
        return Response(200, headers, streamed(media_type, document, Slice(0, total)))
    if wanted.start == wanted.stop:
        headers.append((b"content-range", b"bytes */%d" % total))
        return Response(416, headers, Content(b"text/plain", b"the document has %d bytes\n" % total))
    headers.append((b"content-range", b"bytes %d-%d/%d" % (wanted.start, wanted.stop - 1, total)))
    return Response(206, headers, streamed(media_type, document, wanted))


def streamed(media_type: bytes, document: Delivered, wanted: Slice) -> StreamedContent:
    """The bytes `wanted` of the document, which is never whole in memory if it is large."""

    async def content() -> AsyncIterator[bytes]:
        async for segment in document.pieces(wanted.start, wanted.stop):
            for piece in split(segment):
                yield piece

    return StreamedContent(media_type, content, wanted.stop - wanted.start)
