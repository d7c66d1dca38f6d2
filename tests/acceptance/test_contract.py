"""The three calls that live clients make, byte for byte, over a raw socket (contract, "Addresses")."""

import base64
import json
import socket
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import Running


def call(running: Running, request: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Status, JSON and the raw body of one exchange."""
    with socket.create_connection(("127.0.0.1", running.service.port), timeout=240) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as reply:
            status = int(reply.readline().split()[1])
            headers = {}
            while (line := reply.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(reply.readline(), 16):
                    body += reply.read(size)
                    reply.readline()
            else:
                body = reply.read(int(headers["content-length"]))
    return status, json.loads(body), body


def test_the_three_calls_of_live_clients(running: Running, invoices: list[Path]) -> None:
    host = f"127.0.0.1:{running.service.port}"
    basic = base64.b64encode(f"{running.client_id}:{running.secret}".encode()).decode()
    status, token, _ = call(
        running,
        "POST /oauth2/authorization-server/oauth/token?grant_type=client_credentials HTTP/1.1\r\n"
        f"Host: {host}\r\nAuthorization: Basic {basic}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n".encode(),
    )
    assert status == 200
    assert {"access_token", "token_type", "expires_in", "scope", "jti"} <= set(token)

    original = invoices[0].read_bytes()
    # PHP writes its slashes escaped.
    content = base64.b64encode(original).decode().replace("/", "\\/")
    body = (
        '{"description":"Some context.","externalReference":"Ext_Ref FT 2021/5 2026112112:00:00","documents":'
        '[{"documentRequest":{"base64Content":"' + content + '",'
        '"contentType":"application/pdf","externalReference":"Ext_Ref_constant","name":"fatura.pdf"},'
        '"signatureInfo":{"signatureType":"PAdES","applyTimestamp":false,"location":"Oeiras","reason":"API",'
        '"visibleSignatureInfo":null}}]}'
    ).encode()
    status, reply, raw = call(
        running,
        "POST /signstash/einvoice-integration-client-ws/api/v0/document/sign/base64// HTTP/1.1\r\n"
        f"Host: {host}\r\nAuthorization: bearer {token['access_token']}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body,
    )
    assert status == 200, reply
    signed = base64.b64decode(reply["documentList"][0]["signedContent"], validate=True)
    assert signed.startswith(original)
    assert len(signed) > len(original)
    # A live client gives up at the lower-case word anywhere in the reply; base64 may hold it by chance.
    assert b"error" not in raw.replace(reply["documentList"][0]["signedContent"].encode(), b"")

    status, result, _ = call(
        running,
        f"GET /signstash/einvoice-integration-client-ws/api/v0/operation/sign/detail/{reply['id']}"
        f"/contentInResponse/True HTTP/1.1\r\nHost: {host}\r\nAuthorization: bearer {token['access_token']}\r\n\r\n".encode(),
    )
    assert status == 200
    assert result["status"] == "EXECUTED"
    assert base64.b64decode(result["documentList"][0]["signedContent"]) == signed


def test_status_and_result_by_an_awkward_reference(running: Running) -> None:
    """`FT 2021/5` arrives percent-encoded; where a proxy refuses %2F, as a query parameter."""
    host, basic = (
        f"127.0.0.1:{running.service.port}",
        base64.b64encode(f"{running.client_id}:{running.secret}".encode()).decode(),
    )
    for target in (
        "async/operation/status/withExternalReference/Ext_Ref%20FT%202021%2F5%202026112112:00:00",
        "async/operation/status/withExternalReference?externalReference=Ext_Ref%20FT%202021%2F5%202026112112:00:00",
        "async/operation/sign/detail/withExternalReference/Ext_Ref%20FT%202021%2F5%202026112112%3A00%3A00",
    ):
        status, reply, _ = call(
            running,
            f"GET {running.base}/{target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {basic}\r\n\r\n".encode(),
        )
        assert status == 200, target
        entry: Any = reply[0] if isinstance(reply, list) else reply
        assert entry["status"] == "EXECUTED"
