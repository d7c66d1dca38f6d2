"""The service over any payload store, with the duties of an instance, and with a signing service that a test can break.

The HTTP front is the real application, without the server in front of it: `get` speaks ASGI to it.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from harness.misbehaving import Misbehaving, service
from tests.support.parts import Connect, Parts, running_parts

from batchseal.api.application import create_application
from batchseal.api.authentication import Authenticator
from batchseal.api.tokens import Tokens
from batchseal.audit.writer import AuditWriter
from batchseal.operation import Caller, Form, Mode
from batchseal.payloads.interface import Payloads
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.signer.duties.purging import Purging
from batchseal.signer.pace import Pace
from batchseal.store import OperationRow
from batchseal.store.trail import AuditTrail
from batchseal.store.upkeep import Upkeep
from batchseal.system.backoff import Backoff
from batchseal.system.shared_pool import SharedPool
from batchseal.upstream.pace import UpstreamPace
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller("A")
BASE = "/signstash/einvoice-integration-client-ws/api/v0"
QUICK = Pace(look_seconds=0.1, between_tries=Backoff(0.02, 0.1))
QUICK_UPSTREAM = UpstreamPace(repeating=Backoff(0.01, 0.02))
ALL_ROWS = {"batchseal.scope": "*", "search_path": "batchseal"}


def entry_of(number: int, content: bytes) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": f"doc {number}",
            "name": f"{number}.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES"},
    }


def json_body(reference: str, contents: list[bytes]) -> bytes:
    documents = [entry_of(number, content) for number, content in enumerate(contents)]
    return json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()


def multipart_body(reference: str, contents: list[bytes], *, request_first: bool) -> bytes:
    described = json.loads(json_body(reference, contents))
    for document in described["documents"]:
        del document["documentRequest"]["base64Content"]
    request = b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(described).encode()
    files = [b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + one for one in contents]
    parts = [request, *files] if request_first else [*files, request]
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"


@dataclass
class House:
    parts: Parts
    double: Misbehaving
    upstream: RemoteUpstream
    payloads: Payloads
    purging: Purging
    trail: AuditTrail
    audit: AuditWriter
    owner: asyncpg.Connection  # owns the tables and sees all rows
    application: Callable[..., Awaitable[None]]

    async def receive(self, body: bytes, mode: Mode = Mode.ASYNC, form: Form = "json") -> OperationRow:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 100_000):
                yield body[start : start + 100_000]

        media_type = "application/json" if form == "json" else "multipart/form-data; boundary=cut"
        return await self.parts.service.receive(
            CALLER, mode, form=form, media_type=media_type, body_bytes=len(body), chunks=chunks()
        )

    async def submit(self, reference: str, contents: list[bytes], mode: Mode = Mode.ASYNC) -> OperationRow:
        return await self.receive(json_body(reference, contents), mode)

    async def row(self, operation_id: int) -> OperationRow:
        return await self.parts.service.status_by_id(CALLER, operation_id)

    async def finished(self, operation_id: int) -> tuple[OperationRow, list[Any]]:
        """The row and the delivered documents."""
        assert await self.parts.service.wait(operation_id, 120), "not finished"
        row, rows = await self.parts.service.finished_operation(CALLER, operation_id=operation_id)
        return row, [one async for one in self.parts.service.deliver(row, rows, encoding="raw")]

    async def get(self, path: str, begun: Callable[[], None] | None = None) -> tuple[int, dict[str, str], bytes, bool]:
        """Status, headers in lower case, body, and whether the reply came to its end. `begun` is called with its first bytes."""
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(dict(message))
            if begun is not None and len(sent) == 2:
                begun()

        asked = 0

        async def receive() -> Any:
            nonlocal asked
            asked += 1
            if asked > 1:
                await asyncio.Event().wait()  # the caller stays
            return {"type": "http.request", "body": b"", "more_body": False}

        authorization = b"Basic " + base64.b64encode(b"A:s")
        scope = {
            **{"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "query_string": b""},
            **{"path": BASE + path, "raw_path": (BASE + path).encode(), "root_path": ""},
            **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)},
            "headers": [(b"host", b"x"), (b"authorization", authorization)],
        }
        await self.application(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        pieces = [message for message in sent if message["type"] == "http.response.body"]
        ended = bool(pieces) and not pieces[-1].get("more_body", False)
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, b"".join(piece.get("body", b"") for piece in pieces), ended


@asynccontextmanager
async def running_house(
    connect_store: Connect, database_url: str, payloads: Payloads, folder: Path
) -> AsyncIterator[House]:
    """`folder` is for everything but the payloads."""
    instance, double, pool = uuid4(), Misbehaving(multisign=5), SharedPool(1)
    owner = await asyncpg.connect(database_url.replace("//batchseal@", "//batchseal_owner@"), server_settings=ALL_ROWS)
    try:
        async with (
            service(folder, double, upstream_pace=QUICK_UPSTREAM) as upstream,
            running_parts(connect_store, upstream, folder, instance=instance, payloads=payloads, pace=QUICK) as parts,
        ):
            trail = AuditTrail(parts.store.database, instance)
            services = ClientServices.load(folder / "client-services-config.json")
            yield House(
                parts,
                double,
                upstream,
                payloads,
                Purging(Upkeep(parts.store.database, instance), payloads, parts.ledger, pool),
                trail,
                AuditWriter(trail, payloads, folder / "audit", pool, known=parts.known),
                owner,
                await create_application(
                    parts.service,
                    Authenticator(services, Tokens(bytes(32)), parts.service.probe),
                    Settings(work_folder=folder, temp_folder=folder, instance=str(UUID(int=0))),
                ),
            )
    finally:
        await owner.close()
        pool.shutdown()
