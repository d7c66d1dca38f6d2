"""End to end over the socket: 2,500 documents of 200 KB in one asynchronous request, beside the null service's time.

    python -m benchmarks.end_to_end              P-256 and RSA-3072, one request and four at once, and the null service
    python -m benchmarks.end_to_end --judge      each result judged by pyHanko, pdfsig and iText as well
    python -m benchmarks.end_to_end --kind xml   invoices in UBL and XAdES in place of PDF and PAdES; lxml and xmlsec1 judge these

The clock runs from the first byte sent to the last byte of the result read; making the body is left out. The null service
(`null_service.py`) is the physical floor: same server, same disk, same bytes. Services take turns with it, each in a
process tree of its own; the ratio is the median of the rounds' ratios. Client, service, database and sandbox share the
machine's cores, so that the sandbox's signing is part of the time (RSA-3072: nearly all of it).
"""

import argparse
import ctypes
import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.bodies import PDF, XML, Kind, write_body
from benchmarks.judging import judge_reply
from harness.children import PR_SET_PDEATHSIG
from harness.held_folder import held_folder
from harness.processes import PeakMemory
from harness.service import RunningService, free_port

from batchseal.settings.client_services import ClientServices

ROUNDS = 5
MEGABYTE = 1e6


class NullService:
    """`benchmarks.null_service` in a process of its own, with a folder on the disk that the service's would be on."""

    def __init__(self, folder: Path) -> None:
        self.port, self._folder = free_port(), folder

    def __enter__(self) -> "NullService":
        command = [sys.executable, "-m", "benchmarks.null_service", str(self.port), str(self._folder)]
        libc = ctypes.CDLL(None)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise SystemExit("the null service did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()


def credentials(service: RunningService) -> str:
    services = ClientServices.load(service.services_file)
    return f"{services.ids()[0]}:{next(iter(services)).secret}"


def drive(load: str = "benchmarks.load", /, **spec: Any) -> dict[str, Any]:
    """One run of a program that makes the load, as it reports it."""
    text = json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in spec.items()})
    run = subprocess.run([sys.executable, "-m", load, text], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    result: dict[str, Any] = json.loads(run.stdout)
    if "failures" in result:
        raise RuntimeError(result["failures"][0])
    return result


@dataclass(slots=True)
class Runs:
    """What the runs of one kind showed: each as `load` reports it, the highest memory by part, the spill at its peak."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    peak: dict[str, int] = field(default_factory=dict)
    spill_bytes: int = 0

    @property
    def seconds(self) -> float:
        return statistics.median(report["seconds"] for report in self.reports)

    def stages(self) -> dict[str, float]:
        first = self.reports[0]["stages"]
        return {stage: round(statistics.median(r["stages"][stage] for r in self.reports), 3) for stage in first}


@dataclass(frozen=True, slots=True)
class Batch:
    """A request body ready on the disk."""

    body: Path
    count: int
    payload_bytes: int
    documents: list[bytes]
    kind: Kind


def make_batch(folder: Path, count: int, size_bytes: int, kind: Kind = PDF) -> Batch:
    documents = kind.make(count, size_bytes)
    body = folder / f"body-{count}-{size_bytes}{kind.suffix}.json"
    return Batch(body, count, write_body(body, count, documents, kind), documents, kind)


def weigh_once(service: RunningService, batch: Batch, runs: Runs, at_once: int = 1) -> None:
    """A run whose memory and spill are sampled. That takes a quarter of a core of the time of the run."""
    with PeakMemory(service.process.pid, service.folder / "temp" / "spill") as memory:
        seal_once(service, batch, runs, at_once)
    for part, size in memory.peak.items():
        runs.peak[part] = max(runs.peak.get(part, 0), size)
    runs.spill_bytes = max(runs.spill_bytes, memory.spill_bytes)


def seal_once(service: RunningService, batch: Batch, runs: Runs, at_once: int = 1, save: Path | None = None) -> None:
    spill = service.folder / "temp" / "spill"
    for old in spill.glob("*.spill"):  # finished and fetched: nothing asks for it again
        old.unlink()
    spec = {"port": service.port, "credentials": credentials(service), "body": batch.body, "at_once": at_once}
    spec |= {"reference": f"bench-{time.time_ns()}", "watch": service.process.pid}
    with PeakMemory(service.process.pid, spill) as memory:
        runs.reports.append(drive(**spec, **({"save": save} if save else {})))
    for part, size in memory.peak.items():
        runs.peak[part] = max(runs.peak.get(part, 0), size)
    runs.spill_bytes = max(runs.spill_bytes, memory.spill_bytes)


def measure_credential(folder: Path, batch: Batch, credential: str, rounds: int, judge: bool) -> dict[str, Any]:
    """Interleaved rounds of a service with this credential and the null service, after one run each to warm up.

    Each round has a second run of the service, for its memory.
    """
    single, weighed, four, null, ratios = Runs(), Runs(), Runs(), Runs(), []
    nulls = folder / "null"
    nulls.mkdir(exist_ok=True)
    judged: dict[str, int] = {}
    with RunningService("--sandbox-credential", credential) as service, NullService(nulls) as floor:
        warm = Runs()
        save = folder / "reply" if judge else None
        seal_once(service, batch, warm, save=save)
        if save:
            ecdsa = not credential.startswith("rsa")
            judged = judge_reply(save, batch.documents, service.root, folder / "judged", batch.kind, ecdsa=ecdsa)
        reply_bytes = warm.reports[0]["reply_bytes"]
        for number in range(rounds + 1):
            run = drive(port=floor.port, body=batch.body, reply_bytes=reply_bytes, watch=floor.process.pid)
            if number:  # the first one warms up
                null.reports.append(run)
                seal_once(service, batch, single)
                ratios.append(single.reports[-1]["seconds"] / run["seconds"])
                weigh_once(service, batch, weighed)
    with RunningService("--sandbox-credential", credential) as service:
        weigh_once(service, batch, four, at_once=4)
    stage_cpu: dict[str, Any] = single.reports[-1]["stage_cpu"]
    return {
        "over_null": round(statistics.median(ratios), 2),
        "seconds": round(single.seconds, 3),
        "documents_per_second": round(batch.count / single.seconds),
        "stages": single.stages(),
        "stage_cpu": stage_cpu,
        "client_cpu": single.reports[-1]["client_cpu"],
        "null_seconds": round(null.seconds, 3),
        "null_stages": null.stages(),
        "null_cpu": null.reports[-1]["cpu"],
        "four_seconds": round(four.seconds, 3),
        "peak_mb_1": {part: round(size / MEGABYTE, 1) for part, size in weighed.peak.items()},
        "peak_mb_4": {part: round(size / MEGABYTE, 1) for part, size in four.peak.items()},
        "spill_over_payload": round(weighed.spill_bytes / batch.payload_bytes, 4),
        **({"judged": judged} if judge else {}),
    }


def measure(
    count: int, size_bytes: int, rounds: int, credentials: list[str], judge: bool = False, kind: Kind = PDF
) -> dict[str, Any]:
    with held_folder("bench") as folder:
        batch = make_batch(folder, count, size_bytes, kind)
        return {name: measure_credential(folder, batch, name, rounds, judge) for name in credentials}


def speed_figures(result: dict[str, Any]) -> dict[str, float]:
    """The issue's names for it, from the P-256 runs."""
    run = result["p256"]
    return {
        "end_to_end_over_null": run["over_null"],
        "peak_service_mb_1": run["peak_mb_1"]["service"],
        "peak_service_mb_4": run["peak_mb_4"]["service"],
        "temp_bytes_over_payload": run["spill_over_payload"],
    }


def xml_speed_figures(result: dict[str, Any]) -> dict[str, float]:
    """The same of the runs with XML."""
    return {"xml_end_to_end_over_null": result["p256"]["over_null"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--bytes", type=int, default=200_000, help="size of each document")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--credentials", nargs="+", default=["p256", "rsa3072"])
    parser.add_argument("--kind", choices=["pdf", "xml"], default="pdf")
    parser.add_argument("--judge", action="store_true")
    options = parser.parse_args()
    kind = {"pdf": PDF, "xml": XML}[options.kind]
    result = measure(options.count, options.bytes, options.rounds, options.credentials, options.judge, kind)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
