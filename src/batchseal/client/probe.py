"""Sends one GET to the service on this machine, for the commands `probe` and `check`.

A container runs `probe` every few seconds, so this module imports as little as possible.
"""

import json
import socket

from batchseal.settings.load import Settings

PROBE_SECONDS = 5
MAX_REPLY_BYTES = 64 << 10


def ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """HTTP status and body of a GET to the service that these settings describe. Raises OSError."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{settings.port}\r\nConnection: close\r\n\r\n"
    # Use a plain socket: http.client would double the memory of the probe, which counts against the container's limit.
    with connect(settings, host) as connection:
        connection.sendall(request.encode())
        reply = bytearray()
        while (piece := connection.recv(MAX_REPLY_BYTES)) and len(reply) < MAX_REPLY_BYTES:
            reply += piece
    head, _, body = bytes(reply).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 ") or not head[9:12].isdigit():
        raise OSError("the answer is not HTTP")
    # A chunked body is so small that it is one chunk. The line before the chunk holds its size.
    if b"transfer-encoding: chunked" in head.lower():
        body = body.partition(b"\r\n")[2].partition(b"\r\n")[0]
    return int(head[9:12]), body


def connect(settings: Settings, host: str) -> socket.socket:
    """A connection to the service, with TLS if the settings say so. Raises OSError."""
    connection = socket.create_connection((host, settings.port), PROBE_SECONDS)
    if not settings.tls_certificate:
        return connection
    import ssl

    # Do not verify the certificate: it is issued for the public host name, and this connection stays on the machine.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def describe(body: bytes) -> str:
    """The reply's JSON object on one line, as `name: value, name: value`."""
    try:
        parts = json.loads(body)
        return ", ".join(f"{name}: {text}" for name, text in parts.items())
    except (ValueError, AttributeError):
        return body[:200].decode("utf-8", "replace")
