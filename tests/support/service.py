"""What drills share: a service's client, raw requests, documents, and what lies in its temp folder."""

import base64
import http.client
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.invoices import invoice
from harness.service import RunningService
from harness.waiting import PATIENCE_SECONDS, until

from batchseal.client.http import BatchStatus, Client
from batchseal.errors import RequestFailed
from batchseal.settings.client_services import ClientServices

BASE = "/signstash/einvoice-integration-client-ws/api/v0"
SYNC, ASYNC = f"{BASE}/document/sign/base64/", f"{BASE}/async/document/sign/base64/"
ASYNC_PARTS = f"{BASE}/async/document/sign/"
FAST = ("--sandbox-credential=p256",)
# The statuses of those who may know later what they do not say now. 0: the connection broke.
AWAY = (0, 429, 502, 503, 504)


def credentials(service: RunningService) -> tuple[str, str]:
    services = ClientServices.load(service.services_file)
    return services.ids()[0], next(iter(services)).secret


def client_of(service: RunningService) -> Client:
    return Client(service.url, *credentials(service))


def authorization(service: RunningService) -> str:
    return "Basic " + base64.b64encode(":".join(credentials(service)).encode()).decode()


def entry(number: int, content: bytes) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": f"doc {number}",
            "name": f"invoice-{number}.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES", "reason": "Approved", "location": "Oeiras"},
    }


def batch(reference: str, contents: Sequence[bytes]) -> bytes:
    documents = [entry(number, content) for number, content in enumerate(contents)]
    return json.dumps({"externalReference": reference, "description": "drill", "documents": documents}).encode()


def multipart(reference: str, contents: Sequence[bytes]) -> tuple[bytes, str]:
    """The same with the files before their description, so that reception cannot prepare them; and its media type."""
    described = json.loads(batch(reference, contents))
    for document in described["documents"]:
        del document["documentRequest"]["base64Content"]
    parts = [b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + one for one in contents]
    parts.append(b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(described).encode())
    body = b"".join(b"--drill\r\n" + part + b"\r\n" for part in parts) + b"--drill--\r\n"
    return body, "multipart/form-data; boundary=drill"


def documents(count: int, size_bytes: int = 20_000) -> list[bytes]:
    """A few different invoices, over and over."""
    few = [invoice(number, size_bytes=size_bytes) for number in range(min(count, 8))]
    return [few[number % len(few)] for number in range(count)]


def head(service: RunningService, length: int | None, path: str = ASYNC, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{service.port}", f"Authorization: {authorization(service)}"]
    headers = {"Content-Type": "application/json", **headers}
    lines += [*(f"{name}: {value}" for name, value in headers.items())]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def connect(service: RunningService, timeout: float = PATIENCE_SECONDS) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout)


def reply(connection: socket.socket, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body; status 0 where the connection ends without a whole reply."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ConnectionResetError):
        return 0, {}, b""
    finally:
        response.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def post(
    service: RunningService, body: bytes, path: str = ASYNC, media_type: str = "application/json"
) -> tuple[int, dict[str, str], bytes]:
    with connect(service) as connection:
        # A refusal may come, and the connection end, before all is sent.
        described = {"Connection": "close", "Content-Type": media_type}
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head(service, len(body), path, **described) + body)
        return reply(connection)


def get(service: RunningService, path: str, timeout: float = PATIENCE_SECONDS) -> tuple[int, dict[str, str], bytes]:
    with connect(service, timeout) as connection:
        lines = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(service)}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(lines.encode())
        return reply(connection)


def finished(service: RunningService, reference: str, seconds: float = PATIENCE_SECONDS) -> BatchStatus:
    """The status of an operation once it is finished."""
    client = client_of(service)
    try:
        last: list[BatchStatus] = []

        def is_finished() -> bool:
            try:
                last[:] = [client.status(reference)]
            except RequestFailed as problem:
                # Who cannot answer now is asked again, as long as there is time: a process or the database starts again.
                if problem.status not in AWAY:
                    raise
                return False
            return bool(last[0].finished)

        until(is_finished, seconds, 0.1)
        return last[0]
    finally:
        client.close()


def spill_files(folder: Path) -> list[Path]:
    """Payloads that are files of their own."""
    return sorted((folder / "temp" / "spill").glob("*.spill"))


def payload_files(folder: Path) -> list[Path]:
    """All files that payloads lie in."""
    return sorted((folder / "temp" / "spill").glob("*"))
