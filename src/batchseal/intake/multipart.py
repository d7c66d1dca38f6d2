"""Step 1, receive, for a multipart body, read as it arrives: the parts `files` (repeated) and `signRequest`, in either order."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from python_multipart.multipart import MultipartParser, parse_options_header

from batchseal._native.scanner import RequestScanner
from batchseal.document import Description, ReceivedDocument, RequestFacts
from batchseal.errors import InvalidRequest, TooLarge
from batchseal.intake.json_body import request_facts, usable_reference
from batchseal.intake.reading import Reader
from batchseal.intake.schema import Limits, MultipartRequest, describe, sniff
from batchseal.operation import ContentType
from batchseal.signature import NO_DEFAULTS, SignatureDefaults

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_REQUEST_PART_BYTES = 32 << 20
MAX_PART_HEADERS = 16
MAX_PART_HEADER_BYTES = 4096
# RFC 2046 5.1.1: "boundary delimiters must be no longer than 70 characters, not counting the two leading hyphens".
MAX_BOUNDARY_BYTES = 70
# Parts with other names are ignored, but each takes as long as a small document.
MAX_OTHER_PARTS = 100
# RFC 2046 5.1.1 allows a preamble before the first boundary. Clients in use do not send one.
MAX_PREAMBLE_BYTES = 4096

_requests = Reader(MultipartRequest)
# The parser logs a line for each malformed body. Its sender is told the same, and could fill the log with it.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class MultipartIntake:
    """Reads a body that comes in pieces of any size. Returns each file as soon as its last byte has arrived.

    A file that arrives before `signRequest` has no description yet; `finish` returns the descriptions of all files.
    `media_type` is the request's Content-Type, and `defaults` are those of the caller's signatures. Raises InvalidRequest if
    there is no boundary, or one that is too long.
    """

    def __init__(self, limits: Limits, media_type: str, defaults: SignatureDefaults = NO_DEFAULTS) -> None:
        kind, options = parse_options_header(media_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest("Content-Type must be multipart/form-data with a boundary")
        if len(boundary) > MAX_BOUNDARY_BYTES:
            raise InvalidRequest(f"the boundary has {len(boundary)} bytes, the limit is {MAX_BOUNDARY_BYTES}")
        self._limits = limits
        self._defaults = defaults
        self._documents: list[ReceivedDocument] = []
        self._sniffed: list[ContentType | None] = []
        self._request: MultipartRequest | None = None
        self._part = bytearray()
        self._part_name = b""
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._other_parts = 0
        self._parsed_bytes = 0  # of the body before the piece that is being parsed
        self._ended = False
        self._opening = b"--" + boundary
        self._preamble: bytes | None = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            # The limits here are reached first, so that the refusal names what is too long.
            max_header_count=MAX_PART_HEADERS + 1,
            max_header_size=2 * MAX_PART_HEADER_BYTES,
        )

    def feed(self, chunk: "Buffer") -> list[ReceivedDocument]:
        """Takes the next piece of the body and returns the files that it completes, in their order. Raises ApiError."""
        data = bytes(chunk)
        if self._preamble is not None:
            data = self._behind_preamble(self._preamble + data)
        try:
            self._parser.write(data)
        except ValueError as problem:
            at = self._parsed_bytes + max(0, getattr(problem, "offset", 0))
            raise InvalidRequest(f"the framing of the multipart body is wrong at about byte {at}") from None
        self._parsed_bytes += len(data)
        documents, self._documents = self._documents, []
        return documents

    def _behind_preamble(self, data: bytes) -> bytes:
        """Returns `data` from the first boundary on, or b"" if the boundary has not arrived yet.

        The parser skips a preamble too, but only if the boundary arrives in the same piece.
        """
        at = 0 if data.startswith(self._opening) else data.find(b"\n" + self._opening) + 1
        found = at > 0 or data.startswith(self._opening)
        if at > MAX_PREAMBLE_BYTES or (not found and len(data) > MAX_PREAMBLE_BYTES + len(self._opening)):
            raise InvalidRequest("the multipart body does not begin with its boundary")
        self._preamble = None if found else data
        return data[at:] if found else b""

    @property
    def documents_began(self) -> bool:
        """Whether `signRequest` or the first file has begun."""
        return bool(self._request or self._sniffed or self._part_name == b"files")

    def early_reference(self) -> str | None:
        """The request's external reference, if `signRequest` has arrived and the reference is not too long; else None."""
        return usable_reference(self._request, self._limits) if self._request is not None else None

    def finish(self) -> RequestFacts:
        """Checks the end of the body, and returns the facts of the request with all descriptions. Raises ApiError."""
        if not self._ended:
            raise InvalidRequest("the multipart body ends before its last boundary")
        if self._request is None:
            raise InvalidRequest("the part signRequest is missing")
        entries = self._request.documents or []
        if len(entries) != len(self._sniffed):
            raise InvalidRequest(
                f"signRequest names {len(entries)} documents, but {len(self._sniffed)} files were sent"
            )
        facts = request_facts(self._request, len(entries), self._limits)
        return replace(facts, descriptions=[self._describe(ordinal) for ordinal in range(len(entries))])

    def _describe(self, ordinal: int) -> Description:
        assert self._request is not None and self._request.documents is not None
        place = f"documents[{ordinal}]"
        entry = self._request.documents[ordinal]
        return describe(entry, place, self._limits, self._sniffed[ordinal], self._defaults)

    # --- the parser's callbacks -----------------------------------------------------------------------------------

    def _part_begin(self) -> None:
        self._headers, self._part, self._part_name = {}, bytearray(), b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._bound_header()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bound_header()

    def _bound_header(self) -> None:
        if len(self._field) + len(self._value) > MAX_PART_HEADER_BYTES or len(self._headers) >= MAX_PART_HEADERS:
            raise TooLarge("the headers of a part are too long")

    def _header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part_name = options.get(b"name", b"")
        if self._part_name == b"files" and len(self._sniffed) >= self._limits.max_documents:
            raise TooLarge(f"there are more than {self._limits.max_documents} documents")
        if self._part_name not in (b"files", b"signRequest"):
            self._other_parts += 1
            if self._other_parts > MAX_OTHER_PARTS:
                raise TooLarge(f"there are more than {MAX_OTHER_PARTS} parts that are neither files nor signRequest")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part_name == b"files":
            if len(self._part) + end - start > self._limits.max_document_bytes:
                raise TooLarge(
                    f"documents[{len(self._sniffed)}] is larger than the limit of {self._limits.max_document_bytes} bytes"
                )
        elif self._part_name == b"signRequest":
            if len(self._part) + end - start > MAX_REQUEST_PART_BYTES:
                raise TooLarge(f"signRequest is larger than {MAX_REQUEST_PART_BYTES} bytes")
        else:
            return  # Unknown parts are ignored, like unknown keys in JSON.
        self._part += memoryview(data)[start:end]

    def _part_end(self) -> None:
        if self._part_name == b"signRequest":
            self._take_request()
        elif self._part_name == b"files":
            self._take_file()
        self._part = bytearray()

    def _take_request(self) -> None:
        if self._request is not None:
            raise InvalidRequest("there is more than one part signRequest")
        # The scanner refuses what a JSON library accepts: duplicate keys, deep nesting, and text after the value.
        scanner = RequestScanner(max_depth=self._limits.max_depth, max_documents=self._limits.max_documents)
        scanner.feed(self._part)
        scanner.finish()
        if scanner.failure is not None:
            raise InvalidRequest(f"signRequest: {scanner.failure.message}")
        self._request = _requests.read(self._part, "signRequest")

    def _take_file(self) -> None:
        ordinal = len(self._sniffed)
        if not self._part:
            raise InvalidRequest(f"files[{ordinal}] is empty")
        self._sniffed.append(sniff(memoryview(self._part)))
        description = None
        if self._request is not None:
            if ordinal >= len(self._request.documents or ()):
                raise InvalidRequest(f"there are more files than the {ordinal} documents that signRequest names")
            description = self._describe(ordinal)
        self._documents.append(ReceivedDocument(ordinal, self._part, len(self._part), description))

    def _end(self) -> None:
        self._ended = True
