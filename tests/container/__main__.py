"""`make container-test`: builds the image, runs the loads under their limits, writes benchmarks/results/container.json."""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.invoices import DOCUMENT_BYTES, write_invoices
from harness.provenance import TAKEN, provenance
from harness.xml_invoices import write_xml_invoices
from tests.container import behaviour, engine, hot_folder, image
from tests.container.judging import count_valid
from tests.container.load import PADES, XADES, Kind, send_together
from tests.container.pod import URL, Sandbox, Service
from tests.container.volume import may_mount, survive_kills, twenty_thousand

RESULT = engine.ROOT / "benchmarks" / "results" / "container.json"
PARTS = ("image", "behaviour", "loads", "volume", "hot_folder", "kills")
KILLS_ON_A_VOLUME = 10
READY_SECONDS = 10.0  # after a kill
LARGE_BYTES = 20_000_000
FEW, MANY = (PADES, 100, DOCUMENT_BYTES), (PADES, 2500, DOCUMENT_BYTES)
WAITS = Kind(synchronous=True)
# How long a request that is refused comes again: where none may be refused, the test goes on to see what else is wrong.
PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS = 300, 45
Folders = dict[tuple[str, int, int], Path]  # by type of signature, number of documents, and bytes of each
# The 2x rule's own figure, and the aim; bytes.
VOLUMES = {"8gb": 8_000_000_000, "4600mb": 4_600_000_000}


@dataclass(frozen=True, slots=True)
class Load:
    """`requests` requests of as many documents each, at once, and limits of the memory in MB; 0: there is none of that kind."""

    documents: int
    requests: int
    limit_mb: int  # in which nothing is refused
    aim_mb: int = 0  # the next step down: what falls short of it is reported, and is no failure
    below_mb: int = 0  # in which refusals are fine, but a kill is not
    kind: Kind = Kind()
    size_bytes: int = DOCUMENT_BYTES

    @property
    def name(self) -> str:
        """With what is not usual: the kind before it, the size of documents behind it."""
        kind = f"{self.kind.name}_" if self.kind.name else ""
        size = "" if self.size_bytes == DOCUMENT_BYTES else f"_of_{self.size_bytes // 1_000_000}mb"
        return f"{kind}{self.documents}x{self.requests}{size}"

    @property
    def sent(self) -> tuple[str, int, int]:
        """What the folder of its documents is found by."""
        return self.kind.signature_type, self.documents, self.size_bytes

    def wrong(self, limit_mb: int, numbers: dict[str, float]) -> list[str]:
        """What does not hold under this limit that must."""
        if limit_mb >= self.limit_mb:
            return [] if good(numbers, refusing=False) else ["killed, refused, or not all valid"]
        if limit_mb == self.aim_mb != self.below_mb:
            return []
        return [] if good(numbers, refusing=True) else ["killed, or refused without a time to come again"]


# Of one and two synchronous requests at once, for which the original asks for as much memory, two need more.
LOADS = (
    Load(100, 2, 192, 160, 128),
    Load(100, 8, 256, 192, 192),
    Load(2500, 2, 320, 256, 256),
    Load(2500, 8, 512, 384, 320),
    Load(2500, 1, 320, below_mb=256, kind=Kind(XADES)),
    Load(2500, 1, 320, below_mb=256, kind=Kind(visible_lt=True)),
    Load(50, 2, 256, kind=WAITS),
    Load(50, 8, 512, kind=WAITS),
    Load(25, 2, 1024, size_bytes=LARGE_BYTES, kind=WAITS),
    Load(25, 8, 2048, size_bytes=LARGE_BYTES, kind=WAITS),
)


def run_load(sandbox: Sandbox, load: Load, limit_mb: int, folder: Path, *, judged: int) -> dict[str, float]:
    out = Path(tempfile.mkdtemp(prefix="batchseal-out-", dir="/var/tmp"))
    options, flags = sandbox.long_term if load.kind.visible_lt else ((), ())
    try:
        with (
            engine.fresh_volume() as volume,
            Service(sandbox, f"{limit_mb}m", volume, options=options, flags=flags) as service,
        ):
            idle_mb = service.watch.held() >> 20
            patience = PATIENCE_SECONDS if limit_mb >= load.limit_mb else SHORT_PATIENCE_SECONDS
            sent, seconds = send_together(URL, folder, out, load.requests, patience, kind=load.kind)
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
            seen_by = "seen_by_xmlsec1" if load.kind.signature_type == XADES else "seen_by_pdfsig"
            numbers["valid"], numbers[seen_by] = count_valid(folder, out, sandbox.root, judged, load.kind)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return numbers


def good(numbers: dict[str, float], *, refusing: bool) -> bool:
    """Nothing killed, and every document valid; `refusing` allows refusals that say when to come again."""
    steady = numbers["alive"] == 1 and numbers["oom_kills"] == 0 and numbers["restarts"] == 0
    if refusing:
        return steady and numbers["impolite"] == 0
    return steady and numbers["refusals"] == 0 and numbers.get("valid", 0) == numbers["documents"]


class Report:
    """Numbers by name, and whether all was well."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.bad = 0

    def add(self, part: str, numbers: dict[str, float], wrong: list[str]) -> None:
        self.numbers |= numbers
        self.bad += bool(wrong)
        print(f"{'BAD' if wrong else 'ok '} {part}: {json.dumps(numbers)}", *wrong, sep="\n    ", flush=True)


def main() -> int:
    options = parse_arguments()
    if missing := engine.missing_tools():
        raise SystemExit(f"not installed: {missing}")
    provenance()  # before the tree can change
    started = time.monotonic()
    report, parts = Report(), options.parts.split(",")
    engine.ensure_base()
    if options.where_possible and (reason := engine.why_no_containers()):
        print(f"container test: SKIPPED, as no container can be run here: {reason}")
        return 0
    if not options.no_build:
        report.add("build", {"build_seconds": round(engine.build(), 1)}, [])
    if "image" in parts:
        report.add("image", *image.examine())
    steps = chosen(options.loads, every_step=options.long) if "loads" in parts else []
    with invoices(options.invoices, {load.sent for load, _ in steps}) as folders:
        with Sandbox() as sandbox:
            if "behaviour" in parts:
                with engine.fresh_volume() as volume:
                    report.add("behaviour", *behaviour.observe(sandbox, folders[FEW], volume))
            if "loads" in parts:
                loads(report, sandbox, folders, steps, options)
            if "volume" in parts:
                volumes(report, sandbox, folders[MANY], options)
            if "hot_folder" in parts:
                report.add("hot_folder", *hot_folder.observe(sandbox))
        if "kills" in parts:
            kills(report, folders[FEW], options)
    seconds = round(time.monotonic() - started)
    print(f"container test: {report.bad} parts are bad; {seconds} s", flush=True)
    if not report.bad:
        write(report.numbers, seconds, options)
    return 1 if report.bad else 0


def write(numbers: dict[str, Any], seconds: int, options: argparse.Namespace) -> None:
    """All numbers of a whole run; those of some parts go into what is there. Each part says from which sources it is."""
    taken = {part: provenance() for part in options.parts.split(",")}
    whole = not options.loads and not options.no_build and options.parts == ",".join(PARTS)
    if whole:
        numbers = {**numbers, "seconds": seconds, TAKEN: taken}
    elif options.results.exists():
        kept = json.loads(options.results.read_text("utf-8"))
        numbers = {**kept, **numbers, TAKEN: {**kept.get(TAKEN, {}), **taken}}
    else:
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(numbers, indent=2) + "\n", "utf-8")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.container", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument(
        "--loads",
        default="",
        help="only these, as NAME@MB, separated by commas: " + ", ".join(load.name for load in LOADS),
    )
    parser.add_argument("--volumes", default="4600mb", help=f"some of {','.join(VOLUMES)} (default: %(default)s)")
    parser.add_argument("--no-build", action="store_true", help="take the image that is there")
    parser.add_argument("--long", action="store_true", help="the volume of 8 GB too, and a step below each aim")
    parser.add_argument("--invoices", type=Path, help="folder with 2,500 invoices (default: made anew)")
    parser.add_argument(
        "--judge", type=int, default=100, help="documents of each request that pdfsig or xmlsec1 sees (default: 100)"
    )
    parser.add_argument("--kills", type=int, default=KILLS_ON_A_VOLUME, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="when the kills come (default: another each time)")
    parser.add_argument("--results", type=Path, default=RESULT, help="where to (default: %(default)s)")
    parser.add_argument("--where-possible", action="store_true", help="end well where no container can be run")
    return parser.parse_args()


def loads(
    report: Report, sandbox: Sandbox, folders: Folders, steps: list[tuple[Load, int]], options: argparse.Namespace
) -> None:
    for load, limit_mb in steps:
        aims = limit_mb == load.aim_mb
        judged = options.judge if aims or limit_mb >= load.limit_mb else 0
        numbers = run_load(sandbox, load, limit_mb, folders[load.sent], judged=judged)
        prefix = part = f"{load.name}_{limit_mb}mb"
        if aims:
            numbers["aim_reached"] = int(good(numbers, refusing=False))
            part += " (an aim, reached)" if numbers["aim_reached"] else " (an aim, MISSED)"
        wrong = load.wrong(limit_mb, numbers)
        report.add(part, {f"{prefix}_{name}": number for name, number in numbers.items()}, wrong)


def volumes(report: Report, sandbox: Sandbox, folder: Path, options: argparse.Namespace) -> None:
    if not may_mount():
        print("volumes of a given size: SKIPPED, as none can be mounted here", flush=True)
        return
    for name in VOLUMES if options.long else options.volumes.split(","):
        size_bytes = VOLUMES[name]
        numbers = twenty_thousand(sandbox, folder, size_bytes, 512, options.judge)
        fine = numbers["valid"] == numbers["documents"] and numbers["oom_kills"] == 0 and numbers["alive"] == 1
        wrong = [] if fine and not numbers["refusals"] else ["killed, refused, or not all valid"]
        report.add(f"volume_{name}", {f"volume_{name}_{key}": number for key, number in numbers.items()}, wrong)


def kills(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """As many kills as were asked for, ten on each volume: what they leave there is kept until the end."""
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    rounds = list[dict[str, float]]()
    for first in range(0, options.kills, KILLS_ON_A_VOLUME):
        # Signing takes a while, so that a kill finds it at work.
        with Sandbox(latency_ms=200) as sandbox, engine.fresh_volume() as volume:
            count = min(KILLS_ON_A_VOLUME, options.kills - first)
            rounds.append(survive_kills(sandbox, folder, volume, count, seed + first))
    numbers = {name: sum(one[name] for one in rounds) for name in rounds[0]}
    numbers["kills_slowest_ready_seconds"] = max(one["kills_slowest_ready_seconds"] for one in rounds)
    wrong = []
    if numbers["kills_lost"] or not numbers["kills_valid"] == numbers["kills_documents"] > 0:
        wrong.append("not all came back")
    if numbers["kills_slowest_ready_seconds"] >= READY_SECONDS:
        wrong.append(f"a start took over {READY_SECONDS} s")
    report.add(f"kills, --seed {seed}", numbers, wrong)


def chosen(text: str, *, every_step: bool) -> list[tuple[Load, int]]:
    """Loads and their limits in MB: each limit that must do, each aim, and steps below."""
    if not text:
        below = [(load, load.below_mb) for load in (LOADS if every_step else LOADS[:2])]
        steps = [*((load, load.limit_mb) for load in LOADS), *((load, load.aim_mb) for load in LOADS), *below]
        return list(dict.fromkeys(step for step in steps if step[1]))
    by_name = {load.name: load for load in LOADS}
    parts = [part.partition("@") for part in text.split(",")]
    return [(by_name[name], int(limit) if limit else by_name[name].limit_mb) for name, _, limit in parts]


@contextmanager
def invoices(given: Path | None, wanted: Set[tuple[str, int, int]]) -> Iterator[Folders]:
    """A folder for each of `wanted`, and for what the other parts need. The usual ones share their first files."""
    folder = Path(tempfile.mkdtemp(prefix="batchseal-invoices-", dir="/var/tmp"))
    try:
        started = time.monotonic()
        folders = {MANY: given or folder / "many"}
        if given is None:
            sum(1 for _ in write_invoices(folders[MANY], MANY[1]))
        usual = sorted(folders[MANY].glob("*.pdf"))
        for one in sorted({FEW, *wanted} - {MANY}):
            kind, count, size_bytes = one
            folders[one] = folder / "-".join(map(str, one))
            if kind == XADES:
                sum(1 for _ in write_xml_invoices(folders[one], count, size_bytes=size_bytes))
            elif size_bytes != DOCUMENT_BYTES:
                sum(1 for _ in write_invoices(folders[one], count, size_bytes=size_bytes))
            else:
                folders[one].mkdir()
                for path in usual[:count]:
                    shutil.copy(path, folders[one])
        print(f"invoices made in {time.monotonic() - started:.0f} s", flush=True)
        yield folders
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
