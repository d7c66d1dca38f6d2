"""Step 1, receive, for a JSON body.

The native scanner reads the chunks as they arrive and decodes the base64 contents. It leaves a small JSON text of each document
(its skeleton), which `schema.py` checks.
"""

from typing import TYPE_CHECKING

from batchseal._native.scanner import RequestScanner, ScannedDocument
from batchseal.document import DocumentPart, ReceivedDocument, RequestFacts
from batchseal.errors import ApiError, InvalidRequest, TooLarge
from batchseal.intake.parts import PART_BYTES, GivenParts
from batchseal.intake.reading import Reader
from batchseal.intake.schema import DocumentEntry, Limits, Request, bound_texts, bounded, describe, required, sniff
from batchseal.signature import NO_DEFAULTS, SignatureDefaults
from batchseal.visible.parsing import VisibleReader

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The scanner's failures that mean that a limit was exceeded. They get the error code 0.0.4, all others get 0.0.2.
LIMIT_KINDS = frozenset({"limit_documents", "limit_document_bytes", "limit_text"})

_entries = Reader(DocumentEntry)
_requests = Reader(Request)


class JsonIntake:
    """Reads a body that comes in pieces of any size. Returns each document as soon as its last byte has arrived.

    `defaults` are those of the caller's signatures.
    """

    def __init__(self, limits: Limits, defaults: SignatureDefaults = NO_DEFAULTS) -> None:
        self._limits = limits
        self._defaults = defaults
        self._visible = VisibleReader(defaults.visible)
        self._given: GivenParts | None = None
        self._scanner = RequestScanner(
            max_depth=limits.max_depth,
            max_documents=limits.max_documents,
            max_document_bytes=limits.max_document_bytes,
        )

    def feed(self, chunk: "Buffer") -> list[ReceivedDocument]:
        """Takes the next piece of the body and returns the documents that it completes, in the order of the request.

        Raises ApiError. Its cause names the document and the attribute.
        """
        scanned = self._scanner.feed(chunk)
        self._check()
        return [self._document(item) for item in scanned]

    def part(self, most_bytes: int) -> DocumentPart | None:
        """What has come of a document that has not ended, where more than `most_bytes` of it are held, or the next part of it."""
        content = self._scanner.take_content(most_bytes + 1 if self._given is None else PART_BYTES)
        if content is None:
            return None
        if self._given is None:
            self._given = GivenParts(self._scanner.documents_seen - 1, content)
        return self._given.part(content)

    @property
    def documents_began(self) -> bool:
        """Whether the list of documents has begun. The external reference is known by then, if it comes first."""
        return self._scanner.documents_seen > 0

    def early_reference(self) -> str | None:
        """The request's external reference, if the body gives it before the documents and it is not too long; else None."""
        try:
            # In the skeleton, the scanner replaces the list of documents by their number when the list ends. Until then
            # the skeleton breaks off at that place; `0}` completes it.
            request = _requests.read(self._scanner.request_so_far + b"0}", "")
        except InvalidRequest:
            return None
        return usable_reference(request, self._limits)

    def finish(self) -> RequestFacts:
        """Checks the end of the body, and returns what it says around its documents. Raises ApiError."""
        skeleton = self._scanner.finish()
        self._check()
        if skeleton is None:
            raise InvalidRequest("the body is not complete")
        request = _requests.read(skeleton, "")
        return request_facts(request, request.documents, self._limits)

    def _check(self) -> None:
        if (failure := self._scanner.failure) is not None:
            kind: type[ApiError] = TooLarge if failure.kind in LIMIT_KINDS else InvalidRequest
            raise kind(failure.message)

    def _document(self, scanned: ScannedDocument) -> ReceivedDocument:
        place = f"documents[{scanned.ordinal}]"
        entry = _entries.read(scanned.skeleton, place)
        content, given, self._given = scanned.content, self._given, None
        content_bytes = (given.total_bytes if given else 0) + (len(content) if content is not None else 0)
        if content is None or content_bytes == 0:
            if entry.document_request is None:
                raise InvalidRequest(f"{place}.documentRequest is missing")
            raise InvalidRequest(f"{place}.documentRequest.base64Content is missing")
        sniffed = given.sniffed if given else sniff(memoryview(content))
        what = describe(entry, place, self._limits, sniffed, self._defaults, self._visible)
        return ReceivedDocument(scanned.ordinal, content, content_bytes, what)


def usable_reference(request: Request, limits: Limits) -> str | None:
    """The request's external reference, or None if it is missing or too long: such a request will be refused."""
    reference = request.external_reference or ""
    return reference if 0 < len(reference) <= limits.max_reference_characters else None


def request_facts(request: Request, documents: int | None, limits: Limits) -> RequestFacts:
    """Checks the attributes around the documents; `documents` is their number. Raises ApiError."""
    reference = required(request.external_reference, "externalReference")
    if request.description is None:
        raise InvalidRequest("description is missing")
    if not documents:
        raise InvalidRequest("documents is missing or empty")
    if request.preservation_info is not None:
        bound_texts(request.preservation_info, "preservationInfo", limits)
    return RequestFacts(
        external_reference=bounded(reference, "externalReference", limits.max_reference_characters),
        description=bounded(request.description, "description", limits.max_description_characters),
        return_signed_content=request.return_signed_content,
        documents_total=documents,
        preservation_asked=request.preservation_info is not None,
    )
