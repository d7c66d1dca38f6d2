"""Several requests at once, each by a process of its own; others judge the documents afterwards.

Of PDF pdfsig is the judge. Of XML xmlsec1 is, and lxml with cryptography (`batchseal verify`), which follow the chain too.
"""

import mmap
import shutil
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from harness.validators import pdfsig_verify
from harness.validators.xml import certificate_file, only_signature_added, taken_by_xmlsec1

from batchseal.client.batch import BatchBody, Document, Wishes, find_documents
from batchseal.client.http import Client, Progress, problem_of
from batchseal.client.seal import BatchResult, check_target, fetch, follow
from batchseal.commands.verify import check_files, load_roots
from batchseal.errors import RequestFailed

CLIENT, SECRET = "batch", "a-secret-of-the-container-test"
CHUNK = 50
PATIENCE_SECONDS = 300
REFUSALS = (429, 503, 507)
XADES = "XAdES"
# Where a signed document begins in a reply, and a number of characters of base64 that makes whole bytes.
CONTENT, PIECE_BYTES = b'"signedContent":"', 4 << 20


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


def send(url: str, folder: Path, out: Path, deadline: float, signature_type: str, synchronous: bool) -> Sent:
    client = CountingClient(url, CLIENT, SECRET)
    client.deadline = deadline
    wishes = Wishes(parent="ext:ExtensionContent" if signature_type == XADES else "")
    body = BatchBody(find_documents([folder], signature_type), f"load {uuid4()}", "container test", wishes)
    check_target(body.documents, out)
    try:
        if synchronous:
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
    signature_type: str = "PAdES",
    synchronous: bool = False,
) -> tuple[list[Sent], float]:
    """`requests` requests with the documents of `folder`, at once; results in `out`/0, 1, ... and the seconds it took.

    With `all_in_flight` nobody fetches before all were taken.
    """
    started = time.monotonic()
    deadline = time.time() + patience_seconds
    context = get_context("spawn")
    gate = context.Barrier(requests) if all_in_flight else None
    with ProcessPoolExecutor(requests, mp_context=context, initializer=_set_gate, initargs=(gate,)) as pool:
        common = deadline, signature_type, synchronous
        jobs = [pool.submit(send, url, folder, out / str(n), *common) for n in range(requests)]
        return [job.result() for job in jobs], time.monotonic() - started


def count_valid(folder: Path, out: Path, root: bytes, judged: int) -> tuple[int, int]:
    """Signed files of `out`/* that are good, and how many of them pdfsig saw: the first `judged` of each request.

    Good is: begins with its original, and where pdfsig sees it, whole file and chain to the root. Empties `out`.
    """
    originals = {document.name: document for document in find_documents([folder])}
    valid = seen = 0
    for batch in sorted(out.iterdir()):
        paths = [path for path in sorted(batch.iterdir()) if begins_with(path, originals[path.name])]
        chosen, rest = paths[:judged], paths[judged:]
        chunks: Sequence[list[Path]] = [chosen[at : at + CHUNK] for at in range(0, len(chosen), CHUNK)]
        valid += len(rest)
        seen += len(chosen)
        with ThreadPoolExecutor(2) as pool:
            for run in pool.map(lambda chunk: pdfsig_verify(chunk, root), chunks):
                valid += sum(bool(verdicts) and all(v.good for v in verdicts) for verdicts in run.values())
        shutil.rmtree(batch)
    return valid, seen


def count_valid_xml(folder: Path, out: Path, root: bytes, judged: int) -> tuple[int, int]:
    """The same of XML. Good is: has one signature more than its original, and where both judges see it, they take it."""
    valid = seen = 0
    with tempfile.TemporaryDirectory() as name:
        beside = Path(name)
        (beside / "root.pem").write_bytes(root)
        roots = load_roots([beside / "root.pem"])
        for batch in sorted(out.iterdir()):
            files = sorted(batch.iterdir())
            paths = [one for one in files if only_signature_added((folder / one.name).read_bytes(), one.read_bytes())]
            chosen, rest = paths[:judged], paths[judged:]
            taken = [verdict.path for verdict in check_files(chosen, roots, 2) if verdict.valid]
            valid += len(rest) + (taken_by_xmlsec1(taken, certificate_file(taken[0], beside)) if taken else 0)
            seen += len(chosen)
            shutil.rmtree(batch)
    return valid, seen


def begins_with(signed: Path, original: Document) -> bool:
    content = original.path.read_bytes()
    with signed.open("rb") as file:
        return file.read(len(content)) == content and file.read(1) != b""
