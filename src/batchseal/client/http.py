"""A client of the service over HTTP: it registers a batch, asks for its status and fetches its result.

The client has one connection at a time. It repeats a call if the connection breaks or the service asks for a pause. That is safe
for a registration too: it is repeated with the same external reference, and the service accepts a reference only once. A file of
this machine that cannot be read or written (`LocalFileError`) ends a call at once: the connection is not the reason.
"""

import http.client
import json
import select
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from batchseal.client.batch import BatchBody
from batchseal.client.files import Target
from batchseal.errors import ConfigurationError, LocalFileError, RequestFailed

BASE_PATH = "/signstash/einvoice-integration-client-ws"
REPLY_TIMEOUT_SECONDS = 180
PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
LONGEST_PAUSE_SECONDS = 30.0
COPY_BYTES = 1 << 20
PROBLEM_BYTES = 64 << 10

Progress = Callable[[int], None]  # Called with the number of bytes that were sent since the last call.


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The status of an operation. `documents_done` counts signed and failed documents."""

    operation_id: int
    status: str
    documents_total: int
    documents_done: int

    @property
    def finished(self) -> bool:
        return self.status in ("EXECUTED", "EXECUTION_FAILED")


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """How one document ended. `signed_bytes` is the size of the signed document, or None if it is not signed.

    It is that of the original and what was added. A signature that is a file of its own has `added_bytes` alone.
    """

    signed_bytes: int | None
    added_bytes: int
    sign_error: str
    cause: str


class Client:
    """Talks to one service as one client service, with Basic credentials, or with `token` if it is given.

    `pauses_seconds` are the pauses after each attempt, unless the service names one; there are as many attempts as pauses.
    `url` is the service's address; it may contain the base path. Raises ConfigurationError if it is not an HTTP address.
    `sandbox_signs` is True once a reply to a batch has said that the service seals with its sandbox.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: str,
        *,
        token: str = "",
        pauses_seconds: Sequence[float] = PAUSES_SECONDS,
    ) -> None:
        self._pauses_seconds = pauses_seconds
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"--url: {url!r} is not an address that begins with http:// or https://")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port
        self._base = (parts.path.rstrip("/") or BASE_PATH) + "/api/v0/"
        basic = b64encode(f"{client_id}:{secret}".encode()).decode()
        self._authorization = f"Bearer {token}" if token else f"Basic {basic}"
        self._connection: http.client.HTTPConnection | None = None
        self.sandbox_signs = False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def register(self, body: BatchBody, progress: Progress = lambda sent: None) -> None:
        """Sends the batch. Returns once the service has registered it. Raises RequestFailed."""
        may_be_registered = False
        for attempt, pause in enumerate(self._pauses_seconds):
            try:
                self._send_batch(body, progress)
                return
            except RequestFailed as problem:
                # "Reference taken" after a reply was lost: the service has registered that attempt. After a refusal, the
                # reference is that of another batch.
                if may_be_registered and problem.code == "0.0.7":
                    return
                may_be_registered = may_be_registered or problem.status == 0
                if problem.status not in (0, 429, 503) or attempt == len(self._pauses_seconds) - 1:
                    raise
                time.sleep(min(problem.retry_after_seconds or pause, LONGEST_PAUSE_SECONDS))

    def status(self, external_reference: str, wait_seconds: int = 0) -> BatchStatus:
        """The status of the newest operation with this reference. Raises RequestFailed.

        The service delays its reply until the operation has finished, for at most `wait_seconds`.
        """
        path = "async/operation/status/withExternalReference/" + quote(external_reference, safe="")
        newest = self._get_json(path, {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {})[0]
        done = newest.get("documentsSigned", 0) + newest.get("documentsFailed", 0)
        return BatchStatus(newest["id"], newest["status"], newest.get("documentsTotal", 0), done)

    def results(self, operation_id: int) -> list[DocumentResult]:
        """How each document ended, in the order of the request. Raises RequestFailed."""
        operation = self._get_json(f"operation/sign/detail/{operation_id}/contentInResponse/false")
        return [
            DocumentResult(
                document["contentLength"] + document["additionalContentLength"]
                if document["signStatus"] == "SIGNED"
                else None,
                document["additionalContentLength"],
                document.get("signError") or "",
                document.get("causeMessage") or "",
            )
            for document in operation["documentList"]
        ]

    def fetch_archive(self, operation_id: int, read: Callable[[http.client.HTTPResponse], Any]) -> Any:
        """Fetches all signed documents as a zip archive, and returns what `read` makes of the reply. Raises RequestFailed.

        If the connection breaks, the archive is fetched again and `read` is called again, from the start.
        """
        path = f"operation/sign/detail/{operation_id}/documents"
        return self._get(path, {"Accept": "application/zip"}, read)

    def fetch_document(self, operation_id: int, ordinal: int, target: Target) -> str:
        """Writes one signed document to `target` and replaces what is in it. Returns its media type. Raises RequestFailed."""
        return self._copy(f"operation/sign/detail/{operation_id}/documents/{ordinal}", target)

    def fetch_record(self, operation_id: int, ordinal: int, target: Target) -> None:
        """Writes the evidence record of one signed document to `target`. Raises RequestFailed, with 409 while it is made."""
        self._copy(f"operation/sign/detail/{operation_id}/documents/{ordinal}/evidenceRecord", target)

    def _copy(self, path: str, target: Target) -> str:
        def copy(reply: http.client.HTTPResponse) -> str:
            target.seek(0)
            target.truncate()
            while piece := reply.read(COPY_BYTES):
                target.write(piece)
            # What is left of Content-Length: a reply that is read in pieces may end early without an exception.
            if reply.length:
                raise http.client.IncompleteRead(b"", reply.length)
            return reply.getheader("Content-Type") or ""

        media_type: str = self._get(path, {"Accept": "*/*"}, copy)
        return media_type

    # --- one request ------------------------------------------------------------------------------------

    def _send_batch(self, body: BatchBody, progress: Progress) -> None:
        self.close()  # A connection that was idle may be broken. That would show only after the whole body was sent.
        try:
            connection = self._connect()
            path = "async/document/sign/base64/" + ("?evidenceRecord=true" if body.wishes.evidence_record else "")
            connection.putrequest("POST", self._base + path, skip_accept_encoding=True)
            for name, value in self._headers({"Content-Type": "application/json"}).items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(body.total_bytes))
            connection.endheaders()
            self._send_pieces(connection, body, progress)
            reply = connection.getresponse()
            if reply.status >= 400:
                raise problem_of(reply)
            self.sandbox_signs = reply.getheader("Batchseal-Sandbox") == "true"
            reply.read()
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise RequestFailed(f"the connection to {self._host} broke: {problem or type(problem).__name__}") from None
        except BaseException:
            self.close()  # After half a body, the connection cannot be used for anything else.
            raise

    def _send_pieces(self, connection: http.client.HTTPConnection, body: BatchBody, progress: Progress) -> None:
        """Sends the body. Stops early if the service replies before the end, which is a refusal."""
        for piece in body:
            # With TLS, there may be bytes to read that are not a reply.
            if self._tls is None and select.select([connection.sock], [], [], 0)[0]:
                return
            try:
                connection.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                return
            progress(len(piece))

    def _get_json(self, path: str, headers: dict[str, str] | None = None) -> Any:
        return self._get(path, headers or {}, json.load)

    def _get(self, path: str, headers: dict[str, str], read: Callable[[http.client.HTTPResponse], Any]) -> Any:
        """Sends a GET and returns what `read` makes of the reply. Repeats it with growing pauses while the service is
        unavailable. Raises RequestFailed.
        """
        for pause in self._pauses_seconds:
            try:
                connection = self._connect()
                connection.request("GET", self._base + path, headers=self._headers(headers))
                reply = connection.getresponse()
                if reply.status >= 400:
                    raise problem_of(reply)
                return read(reply)
            except LocalFileError:
                self.close()  # there may be more of the reply
                raise
            except RequestFailed as problem:
                self.close()
                failure = problem
                if failure.status not in (429, 502, 503, 504):
                    raise
            except (OSError, http.client.HTTPException, ValueError) as problem:
                self.close()
                failure = RequestFailed(f"no usable reply from {self._host}: {problem or type(problem).__name__}")
            time.sleep(min(failure.retry_after_seconds or pause, LONGEST_PAUSE_SECONDS))
        raise failure

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = (
                http.client.HTTPSConnection(self._host, self._port, timeout=REPLY_TIMEOUT_SECONDS, context=self._tls)
                if self._tls
                else http.client.HTTPConnection(self._host, self._port, timeout=REPLY_TIMEOUT_SECONDS)
            )
        return self._connection

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {"Authorization": self._authorization, "Accept": "application/json", **more}


def problem_of(reply: http.client.HTTPResponse) -> RequestFailed:
    """The service's error reply as an exception."""
    text = reply.read(PROBLEM_BYTES)
    try:
        body = json.loads(text)
        cause = body.get("causeMessage") or body.get("detail") or body.get("errorCodeDescription")
        code = body.get("errorCode")
    except (ValueError, AttributeError):
        cause = code = None
    wait = reply.getheader("Retry-After", "")
    return RequestFailed(
        f"the service answered {reply.status}: {cause or reply.reason}",
        status=reply.status,
        code=code,
        retry_after_seconds=float(wait) if wait.isdigit() else None,
    )
