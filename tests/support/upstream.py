"""A service without its HTTP front over a signing service that misbehaves: real spill, database, link and signer."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from harness.invoices import invoice
from harness.misbehaving import Misbehaving, service
from tests.support.parts import Connect, Parts, running_parts

from batchseal.admission.ledger import Ledger
from batchseal.operation import Caller, Mode
from batchseal.signer.pace import DEFAULT_PACE, Pace
from batchseal.upstream.remote import RemoteUpstream
from batchseal.worker.service import Service

CALLER = Caller("A")
CONTENTS = [invoice(n, size_bytes=20_000) for n in range(20)]


def entry_of(number: int, content: bytes, **changes: Any) -> dict[str, Any]:
    """A document of a request; `changes` of its signatureInfo."""
    return {
        "documentRequest": {
            "externalReference": "same",
            "name": f"{number}.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES", **changes},
    }


@dataclass
class Running:
    service: Service
    double: Misbehaving
    folder: Path
    upstream: RemoteUpstream
    ledger: Ledger
    parts: Parts
    offer: Callable[[UUID], Service]  # the service as an instance of this id has it

    async def submit(
        self,
        reference: str,
        contents: list[bytes],
        mode: Mode = Mode.ASYNC,
        service: Service | None = None,
        **changes: Any,
    ) -> Any:
        documents = [entry_of(n, content, **changes) for n, content in enumerate(contents)]
        data = json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        return await (service or self.service).receive(
            CALLER, mode, form="json", media_type="application/json", body_bytes=len(data), chunks=chunks()
        )

    async def finished(self, operation_id: int, seconds: float = 120) -> Any:
        assert await self.service.wait(operation_id, seconds)
        row, documents = await self.service.finished_operation(CALLER, operation_id=operation_id)
        return row, [d async for d in self.service.deliver(row, documents, encoding="raw")]


@asynccontextmanager
async def running_service(
    connect_store: Connect,
    instance: UUID,
    folder: Path,
    double: Any = None,
    pace: Pace = DEFAULT_PACE,
    **settings: Any,
) -> AsyncIterator[Running]:
    double = double or Misbehaving(multisign=5)
    async with (
        service(folder, double, **settings) as upstream,
        running_parts(connect_store, upstream, folder, instance=instance, pace=pace, advertised=("h", 1)) as parts,
    ):
        yield Running(parts.service, double, folder, upstream, parts.ledger, parts, parts.offer)
