"""Synchronous requests of one document of 200 KB from eight clients: their processor time, and their rate beside one batch.

    python -m benchmarks.singles

P-256 sandbox; each client keeps one connection open and sends the next request when it has the reply. `single_cpu_ms` is the
processor time of all processes of the service and its database for one document; the sandbox and the clients are left out, and
the worker, the signer and the database are told apart. Wake-ups are how often their threads have slept and gone on.
`singles_over_batch` is documents a second of these requests over those of the same number of documents in one asynchronous
request (sent, signed and fetched), in turns.
"""

import argparse
import base64
import json
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.bodies import API, PDF, make_documents
from benchmarks.end_to_end import credentials, drive, make_batch
from benchmarks.latency import KeptOpen
from harness.held_folder import held_folder
from harness.processes import cpu_seconds, family
from harness.service import RunningService

from batchseal.commands.verify import check_files, load_roots

CLIENTS = 8
WARM_UP = 8  # requests of each client before the clock runs
PARTS = ("worker", "signer", "postgres", "supervisor")


class Client:
    """One connection, and requests whose documents all differ, since equal digests would be signed once."""

    def __init__(self, service: RunningService, number: int, document: bytes) -> None:
        basic = base64.b64encode(credentials(service).encode()).decode()
        self.link = KeptOpen(service.port, f"Basic {basic}")
        self._numbers = iter(range(number * 100_000, (number + 1) * 100_000))
        self._before, self._after = PDF.around(document)
        facts = {"externalReference": "1", "name": "fatura.pdf", "contentType": PDF.media_type, "base64Content": ""}
        whole = json.dumps([{"documentRequest": facts, "signatureInfo": dict(PDF.signature)}])
        begin, mark, rest = whole.partition('"base64Content": "')
        self._opening = f',"documents":{begin}{mark}'.encode() + base64.b64encode(self._before)
        self._closing = base64.b64encode(self._after) + rest.encode() + b"}"

    def seal(self) -> tuple[bytes, bytes]:
        """The document and the body of the reply. Raises RuntimeError unless it was signed."""
        number = PDF.number % next(self._numbers)
        reference = f"single-{time.time_ns()}-{number[2:9].decode()}"
        head = json.dumps({"externalReference": reference, "description": "Benchmark"})
        pieces = (head[:-1].encode(), self._opening, base64.b64encode(number), self._closing)
        reply = self.link.post(f"{API}/document/sign/base64/", *pieces)
        if b'"SIGNED"' not in reply:
            raise RuntimeError("the document was not signed")
        return self._before + number + self._after, reply


def wake_ups(pid: int) -> dict[str, int]:
    """How often the threads of each part have slept and gone on so far (voluntary changes of context)."""
    total: dict[str, int] = {}
    for member, part in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            with suppress(OSError):
                _, _, rest = (task / "status").read_text().partition("\nvoluntary_ctxt_switches:")
                total[part] = total.get(part, 0) + int(rest.split()[0])
    return total


def send(clients: list[Client], each: int, pool: ThreadPoolExecutor) -> list[tuple[bytes, bytes]]:
    """`each` requests of every client; the last document and reply of each."""

    def work(client: Client) -> tuple[bytes, bytes]:
        for _ in range(each - 1):
            client.seal()
        return client.seal()

    return list(pool.map(work, clients))


def judge(replies: list[tuple[bytes, bytes]], root: Path, folder: Path) -> int:
    """How many documents are their original with a valid signature. Raises RuntimeError unless all are."""
    files = []
    for number, (original, reply) in enumerate(replies):
        _, _, content = reply.partition(b'"signedContent":"')
        signed = base64.b64decode(content.partition(b'"')[0])
        if not signed.startswith(original):
            raise RuntimeError("a signed document does not begin with its original")
        files.append(folder / f"single-{number}.pdf")
        files[-1].write_bytes(signed)
    valid = sum(verdict.valid for verdict in check_files(files, load_roots([root]), 2))
    if valid != len(files):
        raise RuntimeError(f"{len(files) - valid} of {len(files)} documents are not valid")
    return valid


def measure(each: int = 60, rounds: int = 3) -> dict[str, Any]:
    """`each` requests of every client, and a batch of as many documents, `rounds` times."""
    count = CLIENTS * each
    ratios, singles, batches = [], [], []
    cpu: Counter[str] = Counter()
    woken: Counter[str] = Counter()
    with (
        held_folder("bench") as folder,
        RunningService("--sandbox-credential", "p256") as service,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        batch = make_batch(folder, count, 200_000)
        documents = make_documents(CLIENTS, 200_000)
        clients = [Client(service, number, document) for number, document in enumerate(documents)]
        pid = service.process.pid
        send(clients, WARM_UP, pool)
        drive(port=service.port, credentials=credentials(service), body=batch.body, reference="warm-up")
        for number in range(rounds):
            cpu.subtract(cpu_seconds(pid))
            woken.subtract(wake_ups(pid))
            began = time.monotonic()
            replies = send(clients, each, pool)
            singles.append(count / (time.monotonic() - began))
            cpu.update(cpu_seconds(pid))
            woken.update(wake_ups(pid))
            spec = {"port": service.port, "credentials": credentials(service), "body": batch.body}
            batches.append(count / drive(**spec, reference=f"batch-{number}")["seconds"])
            ratios.append(singles[-1] / batches[-1])
        valid = judge(replies, service.root, folder)
    total = count * rounds
    per_document = {part: round(1000 * cpu[part] / total, 3) for part in (*PARTS, "sandbox")}
    return {
        "single_cpu_ms": round(sum(per_document[part] for part in PARTS), 3),
        "singles_over_batch": round(statistics.median(ratios), 4),
        "singles_per_second": round(statistics.median(singles), 1),
        "batch_per_second": round(statistics.median(batches), 1),
        "single_cpu_ms_by_process": per_document,
        "single_wake_ups_by_process": {part: round(woken[part] / total, 1) for part in PARTS},
        "judged": valid,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=60, help="requests of each client in a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.each, options.rounds), indent=2))


if __name__ == "__main__":
    main()
