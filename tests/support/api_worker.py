"""A service in memory behind the real application and server, for tests of the API over real sockets.

It parses JSON bodies with the standard library and "signs" a document by appending SUFFIX. The beginning of a document's name
says what happens to it: "refused" asks for what is not offered, "encrypted" cannot be signed, "unstamped" gets no time stamp,
"damaged" is returned damaged by storage, "away" cannot be read now, "crowded" finds no memory for its reply,
"breaks" raises an exception during delivery, "later" stays pending, and "many7" is delivered as 7 large pieces. The
first document may be called "recorded" (it has an evidence record), "late-record" or "no-record" (it was given up).
Run as a program, this file is one worker process.
"""

import argparse
import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from batchseal.api.application import create_application
from batchseal.api.authentication import Authenticator
from batchseal.api.guard import GuardPace
from batchseal.api.tokens import Tokens
from batchseal.errors import (
    InvalidRequest,
    NoRoom,
    NotFinished,
    NotFound,
    PayloadUnavailable,
    RecordGivenUp,
    RecordPending,
    ReferenceTaken,
)
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.signature import Level
from batchseal.system.key_file import load_key
from batchseal.worker import server as worker

SUFFIX = b"\n%signed\n"
FAILURES = {
    "refused": (SignError.CONFIGURATION_SIGN_ERROR, "visible signatures are not offered"),
    "encrypted": (SignError.NOT_SIGNABLE, "the PDF is encrypted"),
    "unstamped": (SignError.TIMESTAMP_SIGN_ERROR, "no authority answers"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    id: int
    client_service: str
    external_reference: str
    description: str
    status: OperationStatus
    created_at: datetime
    finished_at: datetime | None
    host: str
    port: int
    documents_total: int
    documents_signed: int
    documents_failed: int
    mode: Mode = Mode.ASYNC


@dataclass(frozen=True, slots=True)
class Document:
    ordinal: int
    external_reference: str
    name: str
    media_type: str
    status: DocumentStatus
    sign_error: SignError | None
    cause: str | None
    content_bytes: int
    additional_bytes: int
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    row: Document
    segments: Sequence[bytes]
    media_type: str = "application/pdf"
    suffix: str = ""

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self.segments))

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        at, stop = 0, self.total_bytes if stop is None else stop
        for segment in self.segments:
            if wanted := segment[max(start - at, 0) : max(stop - at, 0)]:
                yield wanted
            at += len(segment)


LARGE_SEGMENT_BYTES = 3 << 18
RECORD = bytes.fromhex("3003020101")


class Records:
    def of(self, ordinal: int) -> bytes | None:
        return RECORD if ordinal == 0 else None


class MemoryService:
    """An `OfferedService`. `counts` says what happened; tests read it through `operation_of_document`."""

    def __init__(self) -> None:
        self.operations: dict[int, Operation] = {}
        self.documents: dict[int, list[tuple[Document, bytes]]] = {}
        self.counts = {"receiving": 0, "aborted": 0, "delivering": 0, "waiting": 0, "received": 0, "fetched": 0}

    async def receive(
        self,
        caller: Caller,
        mode: Mode,
        *,
        form: str,
        media_type: str,
        body_bytes: int | None,
        chunks: AsyncIterator[bytes],
        evidence_record: bool = False,
    ) -> Operation:
        size, head = 0, b""
        self.counts["receiving"] += 1
        try:
            async for chunk in chunks:
                size += len(chunk)
                head += chunk[: max(0, (1 << 20) - len(head))]
        except BaseException:
            self.counts["aborted"] += 1
            raise
        finally:
            self.counts["receiving"] -= 1
        self.counts["received"] = size
        if form == "multipart":
            return self.register(caller, {"externalReference": media_type, "description": str(size), "documents": []})
        try:
            return self.register(caller, json.loads(head))
        except (ValueError, KeyError) as problem:
            raise InvalidRequest(f"{size} bytes: {problem!r}") from None

    def register(self, caller: Caller, table: dict[str, Any]) -> Operation:
        reference = table["externalReference"]
        for other in self.operations.values():
            if (other.client_service, other.external_reference) == (caller.client_service, reference):
                raise ReferenceTaken(reference, other.id)
        documents = [self.sign(ordinal, entry["documentRequest"]) for ordinal, entry in enumerate(table["documents"])]
        signed = sum(row.status == DocumentStatus.SIGNED for row, _ in documents)
        later = any(row.name.startswith("later") for row, _ in documents)
        status = OperationStatus.EXECUTED if signed == len(documents) else OperationStatus.EXECUTION_FAILED
        now = datetime.now(UTC)
        operation = Operation(
            id=7000 + len(self.operations),
            client_service=caller.client_service,
            external_reference=reference,
            description=table["description"],
            status=OperationStatus.PENDING_EXECUTION if later else status,
            created_at=now,
            finished_at=None if later else now,
            host="192.168.1.1",
            port=8081,
            documents_total=len(documents),
            documents_signed=signed,
            documents_failed=len(documents) - signed,
        )
        self.operations[operation.id] = operation
        self.documents[operation.id] = documents
        return operation

    def sign(self, ordinal: int, entry: dict[str, Any]) -> tuple[Document, bytes]:
        content = base64.b64decode(entry["base64Content"])
        failure = next((how for name, how in FAILURES.items() if entry["name"].startswith(name)), None)
        sign_error, cause = failure or (None, None)
        row = Document(
            ordinal,
            entry["externalReference"],
            entry["name"],
            "application/pdf",
            DocumentStatus.ERROR_SIGNING if failure else DocumentStatus.SIGNED,
            sign_error,
            cause,
            pieces_of(entry["name"]) * LARGE_SEGMENT_BYTES or len(content),
            0 if failure else len(SUFFIX),
        )
        return row, content

    async def wait(self, operation_id: int, seconds: float, caller: Caller | None = None) -> bool:
        if self.operations[operation_id].status.finished:
            return True
        self.counts["waiting"] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.counts["waiting"] -= 1
        return False

    async def status(self, caller: Caller, reference: str) -> list[Operation]:
        mine = [o for o in self.operations.values() if o.client_service == caller.client_service]
        return [o for o in reversed(mine) if o.external_reference == reference]

    async def status_by_id(self, caller: Caller, id: int) -> Operation:
        operation = self.operations.get(id)
        if operation is None or operation.client_service != caller.client_service:
            raise NotFound(f"no operation {id}")
        return operation

    async def finished_operation(
        self, caller: Caller, *, reference: str | None = None, operation_id: int | None = None
    ) -> tuple[Operation, list[Document]]:
        if operation_id is None:
            found = await self.status(caller, reference or "")
            if not found:
                raise NotFound(f"no operation {reference!r}")
            operation = found[0]
        else:
            operation = await self.status_by_id(caller, operation_id)
        if not operation.status.finished:
            raise NotFinished(f"operation {operation.id} is {operation.status.name}")
        return operation, [row for row, _ in self.documents[operation.id]]

    async def finished_within(
        self, caller: Caller, received: Operation, seconds: float
    ) -> tuple[Operation, list[Document]] | None:
        if not await self.wait(received.id, seconds):
            return None
        return await self.finished_operation(caller, operation_id=received.id)

    async def admit_delivery(self, caller: Caller, operation: Any, documents: Sequence[Any]) -> Callable[[], None]:
        if documents[0].name.startswith("crowded"):
            raise NoRoom("too many results are being fetched", retry_after_seconds=3)
        return lambda: None

    async def fetched(self, caller: Caller, operation_id: int) -> None:
        self.counts["fetched"] += 1

    async def operation_of_document(self, caller: Caller, reference: str) -> int:
        if reference in self.counts:
            return self.counts[reference]
        for id, documents in reversed(self.documents.items()):
            if any(row.external_reference == reference for row, _ in documents):
                return id
        raise NotFound(f"no document {reference!r}")

    async def deliver(
        self, operation: Operation, documents: Sequence[Document], *, encoding: str
    ) -> AsyncIterator[Delivered]:
        contents = {row.ordinal: content for row, content in self.documents[operation.id]}
        self.counts["delivering"] += 1
        try:
            for row in documents:
                if row.name.startswith("damaged"):
                    failed, error = DocumentStatus.ERROR_SIGNING, SignError.STORAGE_SERVICE_GLOBAL_ERROR
                    yield Delivered(replace(row, status=failed, sign_error=error, cause="checksum"), ())
                elif row.name.startswith("away"):
                    raise PayloadUnavailable("the stored payload cannot be opened just now")
                elif row.name.startswith("breaks"):
                    raise RuntimeError("storage is gone")
                elif row.status == DocumentStatus.SIGNED:
                    yield Delivered(row, segments(row, contents[row.ordinal] + SUFFIX, encoding))
                else:
                    yield Delivered(row, ())
                await asyncio.sleep(0)
        finally:
            self.counts["delivering"] -= 1

    async def evidence_records(self, operation: Operation) -> "Records":
        name = self.documents[operation.id][0][0].name
        if name.startswith("late-record"):
            raise RecordPending("it waits for its time stamp", retry_after_seconds=7)
        if name.startswith("no-record"):
            raise RecordGivenUp("no time stamp could be had")
        if not name.startswith("recorded"):
            raise NotFound(f"no evidence record was asked for operation {operation.id}")
        return Records()

    async def probe(self, token: str) -> str | None:
        return {"foreign-one": "one", "foreign-stranger": "stranger"}.get(token)

    async def numbers(self) -> dict[str, float]:
        return {"batchseal_upstream_up": 1.0}

    async def ready(self) -> dict[str, str]:
        return {"database": "ok"}


def pieces_of(name: str) -> int:
    """The number of large pieces in which a document is delivered: 3 for `many3.pdf`, 0 for a name without "many"."""
    return int(name[4:].partition(".")[0]) if name.startswith("many") else 0


def segments(row: Document, signed: bytes, encoding: str) -> list[bytes]:
    count = pieces_of(row.name)
    piece = bytes(LARGE_SEGMENT_BYTES) if count else signed
    return [base64.b64encode(piece) if encoding == "base64" else piece] * (count or 1)


@asynccontextmanager
async def open_application(settings: Settings, pace: GuardPace) -> AsyncIterator[Any]:
    service = MemoryService()
    services = ClientServices.load(settings.services_file)
    tokens = Tokens(load_key(settings.temp_folder / "token.key"))
    authenticator = Authenticator(services, tokens, service.probe)
    yield await create_application(service, authenticator, settings, pace)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("settings", help="JSON of settings")
    parser.add_argument("--grace", type=float, default=worker.GRACE_SECONDS, help="seconds to end in")
    parser.add_argument("--send-stall", type=float, default=GuardPace().send_stall_seconds, help="seconds")
    arguments = parser.parse_args()
    values = json.loads(arguments.settings)
    for name in ("work_folder", "temp_folder"):
        values[name] = Path(values[name])
    opened = partial(open_application, pace=GuardPace(send_stall_seconds=arguments.send_stall))
    worker.run(Settings(**values), opened, ready_fd=arguments.ready_fd, grace_seconds=arguments.grace)


if __name__ == "__main__":
    main()
