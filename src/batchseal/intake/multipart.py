"""Step 1, receive, for a multipart body, read as it arrives: the parts `files` (repeated) and `signRequest`, in either order."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header

from batchseal._native.scanner import RequestScanner
from batchseal.document import Description, DocumentPart, ReceivedDocument, RequestFacts
from batchseal.errors import InvalidRequest, TooLarge
from batchseal.intake.framing import Framing, Parts
from batchseal.intake.json_body import request_facts, usable_reference
from batchseal.intake.parts import PART_BYTES, GivenParts
from batchseal.intake.reading import Reader
from batchseal.intake.schema import Limits, MultipartRequest, describe, sniff
from batchseal.operation import ContentType
from batchseal.signature import NO_DEFAULTS, SignatureDefaults
from batchseal.visible.parsing import VisibleReader

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_REQUEST_PART_BYTES = 32 << 20
# RFC 2046 5.1.1: "boundary delimiters must be no longer than 70 characters, not counting the two leading hyphens".
MAX_BOUNDARY_BYTES = 70
# Parts with other names are ignored, but each takes as long as a small document.
MAX_OTHER_PARTS = 100
# A header with parameters is taken apart by the package in a time that grows with its semicolons, those in quotes included.
MAX_SEMICOLONS = 32
# What a header holds in quotes, whole or cut off (RFC 9110 5.6.4).
QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)

_requests = Reader(MultipartRequest)


class MultipartIntake:
    """Reads a body that comes in pieces of any size. Returns each file as soon as its last byte has arrived.

    A file that arrives before `signRequest` has no description yet; `finish` returns the descriptions of all files.
    `media_type` is the request's Content-Type, and `defaults` are those of the caller's signatures. Raises InvalidRequest if
    there is no boundary, more than one, or one that is too long.
    """

    def __init__(self, limits: Limits, media_type: str, defaults: SignatureDefaults = NO_DEFAULTS) -> None:
        kind, boundary = value_and_parameter(media_type.encode("latin-1", "replace"), b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest("Content-Type must be multipart/form-data with a boundary")
        if len(boundary) > MAX_BOUNDARY_BYTES:
            raise InvalidRequest(f"the boundary has {len(boundary)} bytes, the limit is {MAX_BOUNDARY_BYTES}")
        self._limits = limits
        self._defaults = defaults
        self._visible = VisibleReader(defaults.visible)
        self._documents: list[ReceivedDocument] = []
        self._sniffed: list[ContentType | None] = []
        self._request: MultipartRequest | None = None
        self._part = bytearray()
        self._given: GivenParts | None = None  # of a file that is given out in parts
        self._part_name = b""
        self._other_parts = 0
        self._ended = False
        self._framing = Framing(
            boundary,
            Parts(self._part_begin, self._headers_finished, self._part_data, self._part_end, self._end),
        )

    def feed(self, chunk: "Buffer") -> list[ReceivedDocument]:
        """Takes the next piece of the body and returns the files that it completes, in their order. Raises ApiError."""
        self._framing.feed(bytes(chunk))
        documents, self._documents = self._documents, []
        return documents

    def part(self, most_bytes: int) -> DocumentPart | None:
        """What has come of a file that has not ended, where more than `most_bytes` of it are held, or the next part of it."""
        if self._part_name != b"files" or len(self._part) < (most_bytes + 1 if self._given is None else PART_BYTES):
            return None
        content, self._part = self._part, bytearray()
        if self._given is None:
            self._given = GivenParts(len(self._sniffed), content)
        return self._given.part(content)

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
        return describe(entry, place, self._limits, self._sniffed[ordinal], self._defaults, self._visible)

    # --- what the framing calls -----------------------------------------------------------------------------------

    def _part_begin(self) -> None:
        self._part, self._part_name = bytearray(), b""

    def _headers_finished(self, headers: dict[bytes, bytes]) -> None:
        _, self._part_name = value_and_parameter(headers.get(b"content-disposition", b""), b"name")
        if self._part_name == b"files" and len(self._sniffed) >= self._limits.max_documents:
            raise TooLarge(f"there are more than {self._limits.max_documents} documents")
        if self._part_name not in (b"files", b"signRequest"):
            self._other_parts += 1
            if self._other_parts > MAX_OTHER_PARTS:
                raise TooLarge(f"there are more than {MAX_OTHER_PARTS} parts that are neither files nor signRequest")

    def _part_data(self, data: memoryview) -> None:
        if self._part_name == b"files":
            if self._given_bytes + len(self._part) + len(data) > self._limits.max_document_bytes:
                raise TooLarge(
                    f"documents[{len(self._sniffed)}] is larger than the limit of {self._limits.max_document_bytes} bytes"
                )
        elif self._part_name == b"signRequest":
            if len(self._part) + len(data) > MAX_REQUEST_PART_BYTES:
                raise TooLarge(f"signRequest is larger than {MAX_REQUEST_PART_BYTES} bytes")
        else:
            return  # Unknown parts are ignored, like unknown keys in JSON.
        self._part += data

    @property
    def _given_bytes(self) -> int:
        return self._given.total_bytes if self._given is not None else 0

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
        content_bytes = self._given_bytes + len(self._part)
        if not content_bytes:
            raise InvalidRequest(f"files[{ordinal}] is empty")
        self._sniffed.append(self._given.sniffed if self._given is not None else sniff(memoryview(self._part)))
        self._given = None
        description = None
        if self._request is not None:
            if ordinal >= len(self._request.documents or ()):
                raise InvalidRequest(f"there are more files than the {ordinal} documents that signRequest names")
            description = self._describe(ordinal)
        self._documents.append(ReceivedDocument(ordinal, self._part, content_bytes, description))

    def _end(self) -> None:
        self._ended = True


def value_and_parameter(header: bytes, name: bytes) -> tuple[bytes, bytes]:
    """The value of a header in lower case, and its parameter of this name, or nothing (RFC 2183 2).

    Raises InvalidRequest for too many parameters, and if this one stands twice: readers differ in which of the two they take, so
    what checked the request before may have seen another body than this service.
    """
    if header.count(b";") > MAX_SEMICOLONS:
        raise InvalidRequest(f"a header with parameters has more than {MAX_SEMICOLONS} semicolons")
    names = [one.partition(b"=")[0].strip(b" \t").lower() for one in QUOTED.sub(b"", header).split(b";")[1:]]
    if names.count(name) > 1:
        raise InvalidRequest(f"a header has more than one parameter {name.decode()}")
    value, parameters = parse_options_header(header)
    return value, parameters.get(name, b"")
