"""`make container-test`: builds the image, runs the loads under their limits, writes benchmarks/results/container.json."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.invoices import write_invoices
from tests.container import engine
from tests.container.load import count_valid, send_together
from tests.container.pod import URL, Sandbox, Service

RESULT = engine.ROOT / "benchmarks" / "results" / "container.json"
VOLUME = "batchseal-test-volume"


@dataclass(frozen=True, slots=True)
class Load:
    documents: int
    requests: int
    must_mb: int
    aim_mb: int
    below_mb: int  # one step below the aim: refusals are fine, a kill is not

    @property
    def name(self) -> str:
        return f"{self.documents}x{self.requests}"


LOADS = (
    Load(100, 2, 256, 192, 128),
    Load(100, 8, 320, 256, 192),
    Load(2500, 2, 512, 320, 256),
    Load(2500, 8, 768, 512, 320),
)


@contextmanager
def fresh_volume() -> Iterator[str]:
    engine.call("podman", "volume", "rm", "-f", VOLUME, check=False)
    try:
        yield VOLUME
    finally:
        engine.call("podman", "volume", "rm", "-f", VOLUME, check=False)


def run_load(sandbox: Sandbox, load: Load, limit_mb: int, folder: Path, *, judged: int) -> dict[str, float]:
    out = Path(tempfile.mkdtemp(prefix="batchseal-out-", dir="/var/tmp"))
    try:
        with fresh_volume() as volume, Service(sandbox, f"{limit_mb}m", volume) as service:
            idle_mb = service.watch.held() >> 20
            sent, seconds = send_together(URL, folder, out, load.requests, 300 if judged else 20)
            numbers: dict[str, float] = dict(service.watch.stop())
            alive = engine.running(service.name)
            said = engine.logs(service.name)
        numbers |= {
            "limit_mb": limit_mb,
            "idle_mb": idle_mb,
            "seconds": round(seconds, 1),
            "documents": load.documents * load.requests,
            "signed": sum(s.signed for s in sent),
            "refusals": sum(s.refusals for s in sent),
            "impolite": sum(s.impolite for s in sent),
            "alive": int(alive),
            "restarts": said.count("ended unexpectedly") + said.count("database server ended"),
        }
        for failure in sorted({s.failure for s in sent if s.failure}):
            print(f"    {failure}")
        if judged:
            numbers["valid"], numbers["seen_by_pdfsig"] = count_valid(folder, out, sandbox.root, judged)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return numbers


def good(numbers: dict[str, float], *, refusing: bool) -> bool:
    """Nothing killed, and every document valid; `refusing` allows refusals that say when to come again."""
    steady = numbers["alive"] == 1 and numbers["oom_kills"] == 0 and numbers["restarts"] == 0
    if refusing:
        return steady and numbers["impolite"] == 0
    return steady and numbers["refusals"] == 0 and numbers.get("valid", 0) == numbers["documents"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.container", description=__doc__)
    parser.add_argument("--loads", default="", help="only these, as DOCUMENTSxREQUESTS@MB, separated by commas")
    parser.add_argument("--no-build", action="store_true", help="take the image that is there")
    parser.add_argument("--invoices", type=Path, help="folder with 2,500 invoices (default: made anew)")
    parser.add_argument(
        "--judge", type=int, default=250, help="documents of each request that pdfsig sees (default: 250)"
    )
    options = parser.parse_args()
    if missing := engine.missing_tools():
        raise SystemExit(f"not installed: {', '.join(missing)}")
    results: dict[str, float] = {}
    bad = 0
    if not options.no_build:
        engine.ensure_base()
        results["build_seconds"] = round(engine.build(), 1)
    results["image_mb"] = engine.image_bytes(engine.IMAGE) // 1_000_000
    results["own_layers_mb"] = (engine.image_bytes(engine.IMAGE) - engine.image_bytes(engine.BASE)) // 1_000_000
    print(json.dumps(results), flush=True)
    with Sandbox() as sandbox, invoices(options.invoices) as folders:
        for load, limit_mb in chosen(options.loads):
            refusing = limit_mb < load.aim_mb
            numbers = run_load(
                sandbox, load, limit_mb, folders[load.documents], judged=0 if refusing else options.judge
            )
            fine = good(numbers, refusing=refusing)
            bad += not fine
            prefix = f"{load.name}_{limit_mb}mb"
            results |= {f"{prefix}_{name}": number for name, number in numbers.items()}
            print(f"{'ok ' if fine else 'BAD'} {prefix}: {json.dumps(numbers)}", flush=True)
    if not options.loads:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    return 1 if bad else 0


def chosen(text: str) -> list[tuple[Load, int]]:
    if not text:
        return [(load, load.aim_mb) for load in LOADS] + [(load, load.below_mb) for load in LOADS[:1]]
    by_name = {load.name: load for load in LOADS}
    parts = [part.partition("@") for part in text.split(",")]
    return [(by_name[name], int(limit) if limit else by_name[name].aim_mb) for name, _, limit in parts]


@contextmanager
def invoices(given: Path | None) -> Iterator[dict[int, Path]]:
    """A folder for each size of request; the small one's files are the first of the large one's."""
    folder = Path(tempfile.mkdtemp(prefix="batchseal-invoices-", dir="/var/tmp"))
    try:
        large, small = given or folder / "2500", folder / "100"
        started = time.monotonic()
        if given is None:
            sum(1 for _ in write_invoices(large, 2500))
        small.mkdir()
        for path in sorted(large.glob("*.pdf"))[:100]:
            shutil.copy(path, small)
        print(f"invoices made in {time.monotonic() - started:.0f} s", flush=True)
        yield {100: small, 2500: large}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
