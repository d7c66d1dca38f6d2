"""Turns exceptions into error replies: the `errorCode` body of the original product and RFC 9457 in one JSON object.

A caller gets the fixed text of the error's class and the cause. For an unexpected exception the caller gets only an id, and
the log has the exception under the same id.
"""

import http
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from batchseal.api.exchange import Send
from batchseal.api.offered_service import Document
from batchseal.api.schemas import cause_of
from batchseal.errors import (
    ApiError,
    DatabaseUnavailable,
    InactiveClientService,
    InternalError,
    InvalidToken,
    NoRoom,
    NotConfigured,
    NotSignable,
    SigningUnavailable,
    UnknownClientService,
    ValueNotAllowed,
    VisibleSignatureImpossible,
)
from batchseal.operation import DocumentStatus, SignError

log = structlog.get_logger(__name__)

MEDIA_TYPE = b"application/problem+json"
CHALLENGE = b'Basic realm="batchseal", charset="UTF-8", Bearer realm="batchseal"'
# Replies with these statuses always have a Retry-After header.
ASK_AGAIN = (429, 503, 507)
# The errors that end a synchronous request of which no document could be signed, with the signErrors of documents that lead to
# them. The first one counts that a document has. Trouble that may pass comes first: only where nothing else was wrong is it
# true that another try is of no use.
NOTHING_SIGNED: tuple[tuple[type[ApiError], frozenset[SignError]], ...] = (
    (SigningUnavailable, frozenset({SignError.CERT_SERVICE_GLOBAL_ERROR, SignError.TIMESTAMP_SIGN_ERROR})),
    (
        InternalError,
        frozenset({SignError.STORAGE_SERVICE_GLOBAL_ERROR, SignError.SIGN_OPERATION_INTERNAL_ERROR}),
    ),
    (
        NotConfigured,
        frozenset(
            {
                SignError.INVALID_CERT_SERVICE_CREDS,
                SignError.INVALID_CERT_ACCESS_ACCOUNT,
                SignError.INVALID_CERTIFICATE_SIGN_ERROR,
            }
        ),
    ),
    (NotSignable, frozenset({SignError.NOT_SIGNABLE})),
    (VisibleSignatureImpossible, frozenset({SignError.NOT_DRAWABLE})),
    (ValueNotAllowed, frozenset({SignError.CONFIGURATION_SIGN_ERROR})),
)
PAUSE_SECONDS = 5
CREDENTIALS_WRONG = (InvalidToken, UnknownClientService, InactiveClientService)


class Problems:
    """Error replies. With `vendor_status_codes` they have the HTTP statuses of the original product."""

    def __init__(self, *, vendor_status_codes: bool) -> None:
        self.vendor_status_codes = vendor_status_codes

    def status(self, error: ApiError) -> int:
        """The HTTP status of the reply for `error`."""
        return error.vendor_status if self.vendor_status_codes else error.status

    def body(self, problem: ApiError, **more: Any) -> bytes:
        """The error as JSON, with a line break at the end. `more` adds fields to those of the contract."""
        status = self.status(problem)
        fields: dict[str, Any] = {
            "errorCode": problem.code,
            "errorCodeDescription": problem.description(),
            "causeMessage": problem.cause,
            "type": "about:blank",
            "title": http.HTTPStatus(status).phrase,
            "status": status,
            "detail": problem.cause,
        }
        fields["id"] = problem.operation_id
        return msgspec.json.encode({k: v for k, v in (fields | more).items() if v is not None}) + b"\n"

    def headers(self, error: ApiError) -> list[tuple[bytes, bytes]]:
        """The headers of the reply, without Content-Type and Content-Length."""
        headers: list[tuple[bytes, bytes]] = []
        pause_seconds = error.retry_after_seconds
        if pause_seconds is None and error.status in ASK_AGAIN:
            pause_seconds = PAUSE_SECONDS
        if pause_seconds is not None:
            headers.append((b"retry-after", str(pause_seconds).encode()))
        if error.location is not None:
            headers.append((b"location", error.location.encode()))
        if self.status(error) == 401 and isinstance(error, CREDENTIALS_WRONG):
            headers.append((b"www-authenticate", CHALLENGE))
        return headers

    def unexpected(self, problem: Exception, path: str) -> ApiError:
        """The ApiError for an exception that no handler expected.

        An unavailable database becomes 503, so that the caller tries again. Any other exception is logged under a new id, and
        the caller gets only that id. `path` is the request's path, for the log.
        """
        if isinstance(problem, DatabaseUnavailable):
            return NoRoom("the database is not available now", retry_after_seconds=PAUSE_SECONDS)
        incident = secrets.token_hex(6)
        log.error("unexpected", incident=incident, path=path, exc_info=problem)
        return InternalError(f"incident {incident}: see the log of the service")

    async def send(self, error: ApiError, send: Send) -> None:
        """Sends the reply for `error` directly, for places that cannot return a response object."""
        body = self.body(error)
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            *self.headers(error),
        ]
        await send({"type": "http.response.start", "status": self.status(error), "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def nothing_signed(documents: Sequence[Document]) -> ApiError:
    """The error that replaces a synchronous result without a signed document. Its cause is that of the document that decided."""
    for kind, sign_errors in NOTHING_SIGNED:
        for document in documents:
            if document.status == DocumentStatus.ERROR_SIGNING and document.sign_error in sign_errors:
                return kind(cause_of(document))
    return InternalError("no document could be signed")
