"""Errors on the wire: the original's `errorCode` body and RFC 9457 in one object.

A caller is told the fixed text of the error's class and a cause; an unexpected exception becomes an id that
finds the log line.
"""

import http
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from batchseal.api.exchange import Send
from batchseal.api.offered_service import Document
from batchseal.errors import (
    ApiError,
    DatabaseUnavailable,
    InactiveClientService,
    InternalError,
    InvalidToken,
    NoRoom,
    NotConfigured,
    UnknownClientService,
    ValueNotAllowed,
)
from batchseal.operation import DocumentStatus, SignError

log = structlog.get_logger(__name__)

MEDIA_TYPE = b"application/problem+json"
CHALLENGE = b'Basic realm="batchseal", charset="UTF-8", Bearer realm="batchseal"'
# Too many requests, no room now, no space now: these always say when to ask again.
ASK_AGAIN = (429, 503, 507)
# What ends a synchronous request of which not one document could be signed.
NOTHING_SIGNED: dict[SignError, type[ApiError]] = {
    SignError.CONFIGURATION_SIGN_ERROR: ValueNotAllowed,
    SignError.INVALID_CERT_SERVICE_CREDS: NotConfigured,
    SignError.INVALID_CERT_ACCESS_ACCOUNT: NotConfigured,
    SignError.INVALID_CERTIFICATE_SIGN_ERROR: NotConfigured,
}
PAUSE_SECONDS = 5
CREDENTIALS_WRONG = (InvalidToken, UnknownClientService, InactiveClientService)


class Problems:
    def __init__(self, *, vendor_status_codes: bool) -> None:
        self.vendor_status_codes = vendor_status_codes

    def status(self, error: ApiError) -> int:
        return error.vendor_status if self.vendor_status_codes else error.status

    def body(self, problem: ApiError, **more: Any) -> bytes:
        """The error as JSON; `more` stands beside the contract's fields. Ends with a line break."""
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
        if (operation_id := getattr(problem, "operation_id", None)) is not None:
            fields["id"] = operation_id
        return msgspec.json.encode({k: v for k, v in (fields | more).items() if v is not None}) + b"\n"

    def headers(self, error: ApiError) -> list[tuple[bytes, bytes]]:
        """Headers besides Content-Type and Content-Length."""
        headers = [(b"cache-control", b"no-store")]
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
        """A database that is away is worth another try. Logs what nobody foresaw under a fresh id; the caller is told
        that id only.
        """
        if isinstance(problem, DatabaseUnavailable):
            return NoRoom("the database is away", retry_after_seconds=PAUSE_SECONDS)
        incident = secrets.token_hex(6)
        log.error("unexpected", incident=incident, path=path, exc_info=problem)
        return InternalError(f"incident {incident}: see the log of the service")

    async def send(self, error: ApiError, send: Send) -> None:
        """Replies with `error` where no response object can be returned any more."""
        body = self.body(error)
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            *self.headers(error),
        ]
        await send({"type": "http.response.start", "status": self.status(error), "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def nothing_signed(documents: Sequence[Document]) -> ApiError:
    """The error body in place of a synchronous result without one signed document."""
    failed = next((d for d in documents if d.status == DocumentStatus.ERROR_SIGNING), None)
    if failed is None:
        return InternalError("no document could be signed")
    kind = NOTHING_SIGNED.get(failed.sign_error, InternalError) if failed.sign_error else InternalError
    return kind(f"{failed.name}: {failed.cause or 'could not be signed'}")
