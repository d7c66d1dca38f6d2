"""A single synchronous document of 200 KB: how long it takes beyond the upstream's own time, alone and beside a large batch.

    python -m benchmarks.latency

P-256 sandbox, one connection kept open, a pause between requests (low load). The upstream's own time is that of the same
two calls (authorize and sign one digest) made directly over one connection kept open, in turns with the requests; both
clocks run from the first byte sent to the last byte read. Left out: what the client does before and after, connecting, and
fetching a token, which both have.
Beside a batch: the same requests while another caller's batch goes through all its stages, one after the other.
"""

import argparse
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bodies import API, make_documents, write_body
from benchmarks.end_to_end import Batch, credentials, make_batch
from harness.held_folder import held_folder
from harness.processes import family, listening_port
from harness.service import RunningService

SHA256, ECDSA_WITH_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
PAUSE_SECONDS = 0.02


class KeptOpen:
    """One HTTP/1.1 connection, kept open; as little client as can be, and its clock."""

    def __init__(self, port: int, authorization: str) -> None:
        self.link = socket.create_connection(("127.0.0.1", port), 60)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fields = f"Host: 127.0.0.1:{port}\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\n"
        self.buffer = memoryview(bytearray(1 << 20))
        self.seconds = 0.0  # of all exchanges so far

    def post(self, path: str, *body: bytes, form: str = "application/json") -> bytes:
        """The reply's body, as it came; `body` is sent piece by piece. Raises RuntimeError unless it is a 200."""
        fields = self.fields.replace("application/json", form)
        head = f"POST {path} HTTP/1.1\r\n{fields}Content-Length: {sum(map(len, body))}\r\n\r\n".encode()
        began = time.perf_counter()
        self._send([head, *body])
        start, end = self._receive()
        self.seconds += time.perf_counter() - began
        reply = bytes(self.buffer[:end])
        if reply.split(b" ", 2)[1] != b"200":
            raise RuntimeError(reply[:2000].decode("utf-8", "replace"))
        return reply[start:]

    def _send(self, pieces: list[bytes]) -> None:
        sent = self.link.sendmsg(pieces)
        for piece in pieces:
            if sent < len(piece):
                self.link.sendall(memoryview(piece)[sent:])
            sent = max(0, sent - len(piece))

    def _receive(self) -> tuple[int, int]:
        """Where the body of the reply begins and ends in the buffer."""
        filled = start = 0
        while not start:
            filled = self._some(filled)
            start = bytes(self.buffer[: min(filled, 4096)]).find(b"\r\n\r\n") + 4
            start = 0 if start < 4 else start
        head = bytes(self.buffer[:start]).lower()
        if b"transfer-encoding: chunked" in head:
            while bytes(self.buffer[filled - 7 : filled]) != b"\r\n0\r\n\r\n":
                filled = self._some(filled)
            return start, filled
        end = start + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while filled < end:
            filled = self._some(filled)
        return start, end

    def _some(self, filled: int) -> int:
        if not (count := self.link.recv_into(self.buffer[filled:])):
            raise ConnectionError("the connection was closed")
        return filled + count


class Upstream:
    """The sandbox, asked directly."""

    def __init__(self, service: RunningService) -> None:
        (pid,) = [member for member, part in family(service.process.pid) if part == "sandbox"]
        port = listening_port(pid)
        basic = base64.b64encode(credentials(service).encode()).decode()
        path, grant = "/oauth2/authorization-server/oauth/token", b"grant_type=client_credentials"
        reply = KeptOpen(port, f"Basic {basic}").post(path, grant, form="application/x-www-form-urlencoded")
        self.link = KeptOpen(port, "Bearer " + json.loads(reply)["access_token"])
        self.credential = self._call("credentials/list", {})["credentialIDs"][0]

    def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self.link.post(f"/csc/v1/{method}", json.dumps(body).encode())))

    def sign_one(self) -> None:
        facts = {"credentialID": self.credential, "hash": [base64.b64encode(os.urandom(32)).decode()]}
        sad = self._call("credentials/authorize", {**facts, "numSignatures": 1})["SAD"]
        self._call("signatures/signHash", {**facts, "SAD": sad, "signAlgo": ECDSA_WITH_SHA256, "hashAlgo": SHA256})


class Single:
    """Synchronous requests of one document."""

    def __init__(self, service: RunningService, folder: Path) -> None:
        basic = base64.b64encode(credentials(service).encode()).decode()
        self.link = KeptOpen(service.port, f"Basic {basic}")
        path = folder / "single.json"
        write_body(path, 1, make_documents(1, 200_000))
        self.rest = path.read_bytes()

    def seal(self) -> None:
        head = json.dumps({"externalReference": f"single-{time.time_ns()}", "description": "Benchmark"})
        reply = self.link.post(f"{API}/document/sign/base64/", head[:-1].encode() + b",", self.rest)
        if b'"SIGNED"' not in reply:
            raise RuntimeError("the document was not signed")


def milliseconds(link: KeptOpen, work: Callable[[], None]) -> float:
    """What the exchanges of `work` over `link` take, from the first byte sent to the last one read."""
    before = link.seconds
    work()
    return 1000 * (link.seconds - before)


def measure_single(service: RunningService, folder: Path, requests: int) -> dict[str, float]:
    """Medians; `beyond` is the median of the requests' times less that of the upstream's."""
    single, upstream = Single(service, folder), Upstream(service)
    whole, own = [], []
    for number in range(requests + 10):
        time.sleep(PAUSE_SECONDS)
        taken = milliseconds(single.link, single.seal)
        time.sleep(PAUSE_SECONDS)
        direct = milliseconds(upstream.link, upstream.sign_one)
        if number >= 10:
            whole.append(taken)
            own.append(direct)
    p50, upstream_p50 = statistics.median(whole), statistics.median(own)
    return {
        "single_sync_beyond_upstream_ms": round(p50 - upstream_p50, 2),
        "single_sync_ms": round(p50, 2),
        "single_sync_p95_ms": round(sorted(whole)[int(0.95 * len(whole))], 2),
        "upstream_ms": round(upstream_p50, 2),
    }


def measure_beside_batch(service: RunningService, folder: Path, batch: Batch) -> dict[str, float]:
    """Singles while a batch is uploaded, signed and fetched by another process."""
    single = Single(service, folder)
    spec = {"port": service.port, "credentials": credentials(service), "body": str(batch.body)}
    text = json.dumps({**spec, "reference": f"beside-{time.time_ns()}"})
    loader = subprocess.Popen([sys.executable, "-m", "benchmarks.load", text], stdout=subprocess.PIPE)
    taken = []
    while loader.poll() is None:
        taken.append(milliseconds(single.link, single.seal))
        time.sleep(PAUSE_SECONDS)
    assert loader.stdout is not None
    report = json.loads(loader.stdout.read())
    if "failures" in report:
        raise RuntimeError(report["failures"][0])
    taken.sort()
    return {
        "single_sync_beside_batch_ms": round(statistics.median(taken), 2),
        "single_sync_beside_batch_p95_ms": round(taken[int(0.95 * len(taken))], 2),
        "single_sync_beside_batch_max_ms": round(taken[-1], 2),
        "batch_beside_singles_seconds": round(report["seconds"], 2),
    }


def measure(requests: int = 200, count: int = 2500) -> dict[str, float]:
    with held_folder("bench") as folder:
        batch = make_batch(folder, count, 200_000)
        with RunningService("--sandbox-credential", "p256") as service:
            alone = measure_single(service, folder, requests)
            return alone | measure_beside_batch(service, folder, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--count", type=int, default=2500, help="documents of the batch beside")
    options = parser.parse_args()
    print(json.dumps(measure(options.requests, options.count), indent=2))


if __name__ == "__main__":
    main()
