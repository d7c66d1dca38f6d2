"""What a payload store costs: processor seconds, time and memory of an upload over an object store, against a local folder.

    python -m benchmarks.store_cost                   2,500 invoices of 200 KB, in turns

Services with the different stores run beside each other, and take the same request in turns. Counted are the processor seconds of
worker and signer from the first byte of the request to its acknowledgement, and how much the worker's memory grows until the
operation has ended. The first upload loads code and is not counted. The object stores are SeaweedFS, which fsyncs, and a sink,
which throws away what it gets: what the store itself costs is in neither. The medians are written to `results/instances.json`,
whose other figures stay.
"""

import argparse
import base64
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from benchmarks.kept import INSTANCES, keep
from harness.invoices import invoice
from harness.object_stores import BUCKET, KEYS, SeaweedFS, store_flags
from harness.processes import PeakMemory, cpu_seconds, family
from harness.provenance import provenance
from harness.service import RunningService, free_port, pss_bytes

from batchseal.client.http import Client
from batchseal.errors import PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.settings.client_services import ClientServices
from batchseal.settings.payload_stores import ObjectAddress

COUNT, SIZE_BYTES, ROUNDS = 2500, 200_000, 5
DIFFERENT = 50
PARTS = ("worker", "signer")
READY_SECONDS, END_SECONDS, IDLE_SECONDS = 20, 300, 5
ROUTE = "/signstash/einvoice-integration-client-ws/api/v0/async/document/sign/base64/"


@dataclass
class Measured:
    """What the rounds with one store took."""

    cpu_seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)
    worker_bytes: list[int] = field(default_factory=list)
    idle_bytes: int = 0


def object_flags(url: str) -> tuple[str, ...]:
    """Those of a prefix of its own."""
    return store_flags(ObjectAddress(bucket=BUCKET, prefix=str(uuid4()), endpoint=url))


@contextmanager
def sink() -> Iterator[str]:
    """The address of a store that forgets."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "harness.sink_store", str(port)]) as process:
        try:
            address = ObjectAddress(bucket=BUCKET, prefix="", endpoint=f"http://127.0.0.1:{port}")
            requests, ends = BucketRequests(address, lambda: KEYS), time.monotonic() + READY_SECONDS
            while True:
                try:
                    requests.make_bucket()
                    break
                except PayloadUnavailable:
                    if time.monotonic() > ends:
                        raise
                    time.sleep(0.05)
            yield address.endpoint
        finally:
            process.terminate()


def request_body(reference: str, documents: list[tuple[str, str]]) -> bytes:
    """The JSON of a request; the documents are names and contents in base64."""
    entries = [
        {
            "documentRequest": {
                "externalReference": name,
                "name": name,
                "contentType": "application/pdf",
                "base64Content": content,
            },
            "signatureInfo": {"signatureType": "PAdES"},
        }
        for name, content in documents
    ]
    return json.dumps({"externalReference": reference, "description": "cost", "documents": entries}).encode()


def spent(service: RunningService) -> float:
    now = cpu_seconds(service.process.pid)
    return sum(now.get(part, 0.0) for part in PARTS)


def memory_of(service: RunningService) -> int:
    """Of worker and signer, in bytes."""
    return sum(pss_bytes(pid) for pid, part in family(service.process.pid) if part in PARTS)


def worker_memory(service: RunningService) -> int:
    return sum(pss_bytes(pid) for pid, part in family(service.process.pid) if part == "worker")


def post(service: RunningService, body: bytes) -> None:
    known = ClientServices.load(service.services_file)
    secret = f"{known.ids()[0]}:{next(iter(known)).secret}"
    headers = {
        "Authorization": "Basic " + base64.b64encode(secret.encode()).decode(),
        "Content-Type": "application/json",
    }
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=END_SECONDS)
    try:
        connection.request("POST", ROUTE, body, headers)
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()
    finally:
        connection.close()


def upload(service: RunningService, client: Client, body: bytes, reference: str, measured: Measured) -> None:
    held = worker_memory(service)
    before, began = spent(service), time.monotonic()
    with PeakMemory(service.process.pid) as memory:
        post(service, body)
        measured.wall_seconds.append(time.monotonic() - began)
        measured.cpu_seconds.append(spent(service) - before)
        ends = time.monotonic() + END_SECONDS
        while not client.status(reference).finished:
            assert time.monotonic() < ends, "the operation does not end"
            time.sleep(0.2)
    measured.worker_bytes.append(memory.peak["worker"] - held)


def measure(count: int, size_bytes: int, rounds: int) -> dict[str, float]:
    different = [base64.b64encode(invoice(number, size_bytes=size_bytes)).decode() for number in range(DIFFERENT)]
    documents = [(f"invoice {number}", different[number % DIFFERENT]) for number in range(count)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batchseal-cost-")))
        folder.chmod(0o711)
        (folder / "volume").mkdir()
        flags: dict[str, tuple[str, ...]] = {
            "local": (),
            "shared": (f"--payload-store=shared:{folder / 'volume'}",),
            "s3": object_flags(stack.enter_context(SeaweedFS()).url),
            "sink": object_flags(stack.enter_context(sink())),
        }
        services, clients, results = dict[str, RunningService](), dict[str, Client](), dict[str, Measured]()
        for name, own in flags.items():
            service = services[name] = stack.enter_context(RunningService("--workers=1", *own))
            known = ClientServices.load(service.services_file)
            clients[name] = Client(service.url, known.ids()[0], next(iter(known)).secret)
            stack.callback(clients[name].close)
        time.sleep(IDLE_SECONDS)  # what a start needs goes back to the system after a while
        for name, service in services.items():
            results[name] = Measured(idle_bytes=memory_of(service))
        for number in range(rounds + 1):
            body = request_body(f"round {number}", documents)
            for name, service in services.items():
                # The first round loads code and is not counted.
                upload(service, clients[name], body, f"round {number}", results[name] if number else Measured())
    return figures(results)


def figures(results: dict[str, Measured]) -> dict[str, float]:
    local = results["local"]

    def over_local(name: str, what: str) -> float:
        return round(statistics.median(getattr(results[name], what)) / statistics.median(getattr(local, what)), 3)

    def more_mb(name: str) -> float:
        return round((statistics.median(results[name].worker_bytes) - statistics.median(local.worker_bytes)) / 2**20, 1)

    return {
        "s3_upload_cpu_over_local": over_local("s3", "cpu_seconds"),
        "s3_upload_wall_over_local": over_local("s3", "wall_seconds"),
        "s3_sink_upload_cpu_over_local": over_local("sink", "cpu_seconds"),
        "s3_sink_upload_wall_over_local": over_local("sink", "wall_seconds"),
        "shared_upload_cpu_over_local": over_local("shared", "cpu_seconds"),
        "shared_upload_wall_over_local": over_local("shared", "wall_seconds"),
        "s3_upload_memory_mb_more": more_mb("s3"),
        "shared_upload_memory_mb_more": more_mb("shared"),
        "local_idle_memory_mb": round(local.idle_bytes / 2**20, 1),
        "shared_idle_memory_mb_more": round((results["shared"].idle_bytes - local.idle_bytes) / 2**20, 1),
        "s3_idle_memory_mb_more": round((results["s3"].idle_bytes - local.idle_bytes) / 2**20, 1),
        "local_upload_cpu_seconds": round(statistics.median(local.cpu_seconds), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="documents (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE_BYTES, help="bytes of each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument("--results", type=Path, default=INSTANCES, help="file of the figures (default: %(default)s)")
    options = parser.parse_args()
    provenance()  # before the tree can change
    found = measure(options.count, options.size, options.rounds)
    keep(options.results, "stores", found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
