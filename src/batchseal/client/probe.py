"""`batchseal probe`: one request to /health/ready. Loads next to nothing, as a container asks every few seconds."""

import json
import socket

from batchseal.settings.load import Settings

PROBE_SECONDS = 5
MAX_REPLY_BYTES = 64 << 10


def ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """Status and body of a GET on the service that these settings would make. Raises OSError."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{settings.port}\r\nConnection: close\r\n\r\n"
    # A socket only: http.client would double what a probe takes, which counts against the container's memory.
    with connect(settings, host) as connection:
        connection.sendall(request.encode())
        reply = bytearray()
        while (piece := connection.recv(MAX_REPLY_BYTES)) and len(reply) < MAX_REPLY_BYTES:
            reply += piece
    head, _, body = bytes(reply).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 ") or not head[9:12].isdigit():
        raise OSError("the answer is not HTTP")
    # A chunked body is small enough for one chunk, its size on a line before it.
    if b"transfer-encoding: chunked" in head.lower():
        body = body.partition(b"\r\n")[2].partition(b"\r\n")[0]
    return int(head[9:12]), body


def connect(settings: Settings, host: str) -> socket.socket:
    connection = socket.create_connection((host, settings.port), PROBE_SECONDS)
    if not settings.tls_certificate:
        return connection
    import ssl

    # The certificate is for the name outside, and this is loopback.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def describe(body: bytes) -> str:
    """The parts that the reply names, on one line."""
    try:
        parts = json.loads(body)
        return ", ".join(f"{name}: {text}" for name, text in parts.items())
    except (ValueError, AttributeError):
        return body[:200].decode("utf-8", "replace")
