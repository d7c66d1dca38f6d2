"""`batchseal probe`: one request to /health/ready. Loads next to nothing, as a container asks every few seconds."""

import http.client
import json

from batchseal.config import Settings

PROBE_SECONDS = 5


def ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """Status and body of a GET on the service that these settings would make. Raises OSError or HTTPException."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def run(settings: Settings) -> int:
    try:
        status, body = ask(settings, "/health/ready")
    except (OSError, http.client.HTTPException) as problem:
        print(f"no answer on port {settings.port}: {problem or type(problem).__name__}")
        return 1
    print(describe(body))
    return 0 if status == 200 else 1


def describe(body: bytes) -> str:
    """The parts that the reply names, on one line."""
    try:
        parts = json.loads(body)
        return ", ".join(f"{name}: {text}" for name, text in parts.items())
    except (ValueError, AttributeError):
        return body[:200].decode("utf-8", "replace")
