"""Several requests at once, each by a process of its own."""

import mmap
import shutil
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from harness.visible_wishes import visible_long_term

from batchseal.client.batch import BatchBody, Document, Wishes, find_documents
from batchseal.client.http import Client, Progress, problem_of
from batchseal.client.seal import BatchResult, check_target, fetch, follow
from batchseal.errors import RequestFailed

CLIENT, SECRET = "batch", "a-secret-of-the-container-test"
PATIENCE_SECONDS = 300
REFUSALS = (429, 503, 507)
PADES, XADES = "PAdES", "XAdES"
# Where a signed document begins in a reply, and a number of characters of base64 that makes whole bytes.
CONTENT, PIECE_BYTES = b'"signedContent":"', 4 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked of a request's documents, and whether its caller waits for them in the request itself."""

    signature_type: str = PADES
    visible_lt: bool = False  # PAdES with text and an image, at level LT
    synchronous: bool = False

    @property
    def name(self) -> str:
        """With what is not usual: nothing for invisible signatures in PDF that are asked for asynchronously."""
        parts = ["sync"] * self.synchronous + ["visible_lt"] * self.visible_lt
        return "_".join([*parts, *([self.signature_type.lower()] if self.signature_type != PADES else [])])

    def wishes(self) -> Wishes:
        if self.visible_lt:
            return visible_long_term()
        return Wishes(parent="ext:ExtensionContent" if self.signature_type == XADES else "")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request's end. `impolite` counts refusals without a time to come again."""

    signed: int
    refusals: int
    impolite: int
    failure: str = ""


class CountingClient(Client):
    """Comes again after a refusal, when the service says, until `deadline`; counts refusals."""

    refusals = impolite = 0
    deadline = 0.0

    def register(self, body: BatchBody, progress: Progress = lambda sent: None) -> None:
        self._until_taken(lambda: self._send_batch(body, progress))

    def sign(self, body: BatchBody, target: BinaryIO) -> None:
        """A synchronous request, whose reply is written to `target`."""
        self._until_taken(lambda: self._sign(body, target))

    def _until_taken(self, send: Callable[[], None]) -> None:
        while True:
            try:
                send()
                return
            except RequestFailed as problem:
                if problem.status not in REFUSALS:
                    raise
                self.refusals += 1
                self.impolite += problem.retry_after_seconds is None
                pause = problem.retry_after_seconds or 1
                if time.time() + pause > self.deadline:
                    raise
                time.sleep(pause)

    def _sign(self, body: BatchBody, target: BinaryIO) -> None:
        self.close()
        try:
            connection = self._connect()
            connection.putrequest("POST", f"{self._base}document/sign/base64/", skip_accept_encoding=True)
            for name, value in self._headers({"Content-Type": "application/json"}).items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(body.total_bytes))
            connection.endheaders()
            self._send_pieces(connection, body, lambda sent: None)
            reply = connection.getresponse()
            if reply.status >= 400:
                raise problem_of(reply)
            shutil.copyfileobj(reply, target, PIECE_BYTES)
        except (OSError, HTTPException) as problem:
            raise RequestFailed(f"the connection broke: {problem or type(problem).__name__}") from None
        finally:
            self.close()


_gate: Barrier | None = None


def _set_gate(gate: Barrier | None) -> None:
    global _gate  # how a spawned process gets what cannot be pickled
    _gate = gate


def send(url: str, folder: Path, out: Path, deadline: float, kind: Kind) -> Sent:
    client = CountingClient(url, CLIENT, SECRET)
    client.deadline = deadline
    documents = find_documents([folder], kind.signature_type)
    body = BatchBody(documents, f"load {uuid4()}", "container test", kind.wishes())
    check_target(body.documents, out)
    try:
        if kind.synchronous:
            with tempfile.TemporaryFile(dir=out.parent) as reply:
                client.sign(body, reply)
                return Sent(store_contents(reply, body.documents, out), client.refusals, client.impolite)
        client.register(body)
        if _gate is not None:
            _gate.wait(max(1.0, deadline - time.time()))
        status = follow(client, body, silent)
        result = BatchResult(status.operation_id, status.status)
        fetch(client, body.documents, out, result, silent)
        return Sent(len(result.signed), client.refusals, client.impolite)
    except RequestFailed as problem:
        if _gate is not None:
            _gate.abort()
        return Sent(0, client.refusals, client.impolite, problem.cause)
    except threading.BrokenBarrierError:
        return Sent(0, client.refusals, client.impolite, "the others were not all taken")


def store_contents(reply: BinaryIO, documents: Sequence[Document], out: Path) -> int:
    """Stores the signed documents of a reply, which may have hundreds of megabytes, piece by piece. Returns how many it has."""
    reply.flush()
    with mmap.mmap(reply.fileno(), 0, access=mmap.ACCESS_READ) as text:
        end = 0
        for number, document in enumerate(documents):
            if (begin := text.find(CONTENT, end) + len(CONTENT)) < len(CONTENT):
                return number
            end = text.find(b'"', begin)
            with (out / document.name).open("wb") as target:
                for at in range(begin, end, PIECE_BYTES):
                    target.write(b64decode(text[at : min(at + PIECE_BYTES, end)]))
    return len(documents)


def silent(step: str, done: int, total: int) -> None:
    """Progress, shown to nobody."""


def send_together(
    url: str,
    folder: Path,
    out: Path,
    requests: int,
    patience_seconds: float = PATIENCE_SECONDS,
    *,
    all_in_flight: bool = False,
    kind: Kind | None = None,
) -> tuple[list[Sent], float]:
    """`requests` requests with the documents of `folder`, at once; results in `out`/0, 1, ... and the seconds it took.

    With `all_in_flight` nobody fetches before all were taken.
    """
    started = time.monotonic()
    deadline = time.time() + patience_seconds
    context = get_context("spawn")
    gate = context.Barrier(requests) if all_in_flight else None
    with ProcessPoolExecutor(requests, mp_context=context, initializer=_set_gate, initargs=(gate,)) as pool:
        jobs = [pool.submit(send, url, folder, out / str(n), deadline, kind or Kind()) for n in range(requests)]
        return [job.result() for job in jobs], time.monotonic() - started
