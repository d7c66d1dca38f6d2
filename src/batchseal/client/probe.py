"""Sends one GET to the service on this machine, for the commands `probe` and `check`.

A container runs `probe` every few seconds, so this module imports as little as possible.
"""

import json
import socket

from batchseal.settings.load import Settings

PROBE_SECONDS = 5
MAX_REPLY_BYTES = 64 << 10


def place_of(settings: Settings) -> tuple[str, int, bool]:
    """Host and port that health is asked at, and whether they speak TLS.

    Where callers need a certificate, which nobody here has, that is the management listener, if there is one.
    """
    if settings.tls_client_ca and settings.management_port:
        host, port, has_tls = settings.management_host, settings.management_port, False
    else:
        host, port, has_tls = settings.host, settings.port, bool(settings.tls_certificate)
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host), port, has_tls


def ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """HTTP status and body of a GET to the service that these settings describe. Raises OSError."""
    host, port, has_tls = place_of(settings)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    # Use a plain socket: http.client would double the memory of the probe, which counts against the container's limit.
    with connect(host, port, has_tls=has_tls) as connection:
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


def connect(host: str, port: int, *, has_tls: bool) -> socket.socket:
    """A connection to the service. Raises OSError."""
    connection = socket.create_connection((host, port), PROBE_SECONDS)
    if not has_tls:
        return connection
    import ssl

    # Do not verify the certificate: it is issued for the public host name, and this connection stays on the machine.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def text_of(fact: object) -> str:
    """A part is a text at the port of the API, and an object at the management port."""
    return " ".join(map(str, fact.values())) if isinstance(fact, dict) else str(fact)


def describe(body: bytes) -> str:
    """The reply's JSON object on one line, as `name: value, name: value`, with the parts of `checks` among them."""
    try:
        facts = json.loads(body)
        facts |= facts.pop("checks", {})
        return ", ".join(f"{name}: {text_of(fact)}" for name, fact in facts.items())
    except (ValueError, AttributeError):
        return body[:200].decode("utf-8", "replace")
