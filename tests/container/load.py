"""Several asynchronous requests at once, each by a process of its own; every document judged by pdfsig afterwards."""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

from tests.validators import pdfsig_verify

from batchseal.client.batch import BatchBody, Document, find_documents
from batchseal.client.http import Client, Progress
from batchseal.client.seal import seal_batch
from batchseal.errors import RequestFailed

CLIENT, SECRET = "batch", "a-secret-of-the-container-test"
CHUNK = 50
PATIENCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Sent:
    """One request's end. `impolite` counts refusals without a time to come again."""

    signed: int
    refused_documents: int
    refusals: int
    impolite: int
    failure: str = ""


class CountingClient(Client):
    refusals = impolite = 0

    def _send_batch(self, body: BatchBody, progress: Progress) -> None:
        try:
            super()._send_batch(body, progress)
        except RequestFailed as problem:
            if problem.status in (429, 503, 507):
                self.refusals += 1
                self.impolite += problem.retry_after_seconds is None
            raise


def send(url: str, folder: Path, out: Path, deadline: float) -> Sent:
    """One request; a refusal is answered by coming again until `deadline`."""
    client = CountingClient(url, CLIENT, SECRET)
    body = BatchBody(find_documents([folder]), f"load {uuid4()}", "container test")
    failure = ""
    while time.time() < deadline:
        try:
            result = seal_batch(client, body, out, lambda step, done, total: None)
            return Sent(len(result.signed), len(result.refused), client.refusals, client.impolite)
        except RequestFailed as problem:
            failure = problem.cause
            if problem.status not in (429, 503, 507):
                break
    return Sent(0, 0, client.refusals, client.impolite, failure)


def send_together(
    url: str, folder: Path, out: Path, requests: int, patience_seconds: float = PATIENCE_SECONDS
) -> tuple[list[Sent], float]:
    """`requests` requests with the documents of `folder`, at once; results in `out`/0, 1, ... and the seconds it took."""
    started = time.monotonic()
    deadline = time.time() + patience_seconds
    with ProcessPoolExecutor(requests, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(send, url, folder, out / str(n), deadline) for n in range(requests)]
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


def begins_with(signed: Path, original: Document) -> bool:
    content = original.path.read_bytes()
    with signed.open("rb") as file:
        return file.read(len(content)) == content
