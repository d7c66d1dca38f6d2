"""A service without its HTTP front whose documents get evidence records, with an authority that a test can make misbehave."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from asn1crypto import pem
from harness.misbehaving import Misbehaving, service
from harness.validators import judging
from harness.validators.ers import bouncy_castle_judges
from harness.waiting import eventually
from tests.integration.test_upstream_timestamps import SHORT, Connect, Stamping
from tests.support.evidence_records import verify
from tests.support.parts import QUICK_RECORDING, Parts, running_parts
from tests.support.upstream import CALLER, CONTENTS
from tests.support.xml_documents import INVOICE

from batchseal.errors import RecordPending
from batchseal.operation import Mode
from batchseal.signature import NO_DEFAULTS, SignatureDefaults
from batchseal.signer.pace import Pace
from batchseal.signer.recording import RecordingPace
from batchseal.store import OperationRow
from batchseal.system.backoff import Backoff
from batchseal.worker.evidence import OperationRecords

INSTANCE = UUID(int=7)
QUICK = Pace(look_seconds=0.1, between_tries=Backoff(0.02, 0.1))
FILE = bytes(range(256)) * 30_000  # larger than a batch of documents that are sent


def entry(number: int, content: bytes, kind: str = "PAdES", **changes: Any) -> dict[str, Any]:
    media_type = {"PAdES": "application/pdf", "XAdES": "text/xml", "CAdES": "application/octet-stream"}[kind]
    request = {"externalReference": f"d{number}", "name": f"{number}", "contentType": media_type}
    request["base64Content"] = base64.b64encode(content).decode()
    return {"documentRequest": request, "signatureInfo": {"signatureType": kind, **changes}}


PDFS = [entry(number, content) for number, content in enumerate(CONTENTS[:5])]
XML = INVOICE.encode()
OF_ALL_KINDS = [
    entry(0, CONTENTS[0]),
    entry(1, CONTENTS[1], reason="Approved"),
    entry(2, XML, "XAdES"),
    entry(3, XML, "XAdES", advancedSignatureInfo={"signatureLocation": "ext:ExtensionContent"}),
    entry(4, FILE, "CAdES"),
    entry(5, b"a file", "CAdES", signaturePackaging="DETACHED"),
    entry(6, b"%PDF-1.7\nnot a PDF at all"),
    entry(7, CONTENTS[1], reason="Approved"),
]


@dataclass
class Running:
    parts: Parts
    double: Misbehaving

    async def submit(
        self, reference: str, documents: list[dict[str, Any]], mode: Mode = Mode.ASYNC, *, evidence_record: bool = True
    ) -> OperationRow:
        data = json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        options: dict[str, Any] = {"form": "json", "media_type": "application/json", "body_bytes": len(data)}
        receive = self.parts.service.receive
        return await receive(CALLER, mode, chunks=chunks(), evidence_record=evidence_record, **options)

    async def finished(self, operation_id: int) -> tuple[OperationRow, dict[int, bytes]]:
        """The row, and the signed documents by ordinal."""
        assert await self.parts.service.wait(operation_id, 120)
        row, rows = await self.parts.service.finished_operation(CALLER, operation_id=operation_id)
        found = {}
        async for one in self.parts.service.deliver(row, rows, encoding="raw"):
            if one.total_bytes:
                found[one.row.ordinal] = b"".join([piece async for piece in one.pieces()])
        return row, found

    async def recorded(self, row: OperationRow) -> OperationRecords:
        """Its records, once they are made."""
        made: list[OperationRecords] = []

        async def is_made() -> bool:
            try:
                made.append(await self.parts.service.evidence_records(row))
            except RecordPending:
                return False
            return True

        await eventually(is_made)
        return made[0]


@asynccontextmanager
async def running(
    connect_store: Connect,
    folder: Path,
    authority: Stamping | None,
    address: str,
    *,
    instance: UUID = INSTANCE,
    defaults: SignatureDefaults = NO_DEFAULTS,
    pace: RecordingPace = QUICK_RECORDING,
) -> AsyncIterator[Running]:
    double = Misbehaving(multisign=5)
    stamps: dict[str, Any] = {"timestamp_urls": address, "timestamp_roots": authority.roots} if authority else {}
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with (
        service(folder, double, upstream_pace=SHORT, **stamps) as upstream,
        running_parts(
            connect_store,
            upstream,
            folder,
            instance=instance,
            pace=QUICK,
            recording_pace=pace,
            signature_defaults=lambda client_service: defaults,
        ) as parts,
    ):
        yield Running(parts, double)


def authority_of(tmp_path: Path) -> tuple[Stamping, bytes]:
    """An authority, and the root that it leads to."""
    authority = Stamping(tmp_path)
    return authority, pem.unarmor(Path(authority.roots).read_bytes())[2]


def judge(records: OperationRecords, documents: dict[int, bytes], folder: Path) -> None:
    """Every document has a record, which the tests' verifier and Bouncy Castle take."""
    pairs, tokens = [], set()
    for ordinal, document in documents.items():
        record = records.of(ordinal)
        assert record is not None, ordinal
        tokens.add(verify(record, document).token)
        pairs.append((folder / f"{ordinal}.ers", folder / f"{ordinal}"))
        pairs[-1][0].write_bytes(record)
        pairs[-1][1].write_bytes(document)
    assert len(tokens) == 1
    with judging():
        assert all(one.is_about and one.is_stamped for one in bouncy_castle_judges(pairs))
