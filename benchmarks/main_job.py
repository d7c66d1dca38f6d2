"""The main job: 2,500 invoices of 200 KB as one asynchronous request, every result judged by three others' code.

Prints a table and writes `results/main-job.json`. Ends with 1 unless every document is signed, valid for pyHanko (whole
file, chain to the root) and pdfsig, opened by iText without repair, and begins with its original.

With `--visible-lt` the signatures are visible, with text and an image of 20 KB, and of level LT: the figures go into
`results/main-job-visible-lt.json`. Then the material for validation stands behind the last signature, which so does not cover
the whole file; pyHanko says whether the level is reached, and the service may hold less than 200 MB.
"""

import argparse
import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.demo import Batch, Run, end_by_signal, seal_and_check, show
from harness import tools
from harness.held_folder import held_folder
from harness.invoices import write_invoices
from harness.provenance import TAKEN, provenance
from harness.validators import MissingValidator, itext_verify, pdfsig_verify
from harness.visible_wishes import LONG_TERM, visible_long_term
from rich.console import Console
from rich.progress import track

from batchseal.client.batch import Wishes, find_documents

RESULTS = Path(__file__).parent / "results"
CHUNK = 50
PEAK_MB = 200  # of the service, with visible signatures of level LT


@dataclass(frozen=True, slots=True)
class Judged:
    """Files that a judge takes, or None where it is not installed."""

    pdfsig: int | None
    itext: int | None


def judge(console: Console, paths: list[Path], root: Path, *, covers_all: bool) -> Judged:
    """`covers_all`: whether the signature has to cover the whole file."""
    certificate = root.read_bytes()
    chunks = [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]
    pdfsig: int | None = 0
    try:
        with ThreadPoolExecutor(2) as pool:
            runs = pool.map(lambda chunk: pdfsig_verify(chunk, certificate), chunks)
            for run in track(runs, "pdfsig   ", len(chunks), console=console):
                good = (bool(v) and all(s.valid and (s.whole_file or not covers_all) for s in v) for v in run.values())
                pdfsig = (pdfsig or 0) + sum(good)
    except MissingValidator as missing:
        console.print(str(missing))
        pdfsig = None
    itext: int | None = None
    try:
        with console.status("iText"):
            reports = itext_verify(paths).values()
        itext = sum(
            r.pages > 0
            and not r.rebuilt
            and bool(r.verdicts)
            and all(v.valid and (v.whole_file or not covers_all) for v in r.verdicts)
            for r in reports
        )
    except MissingValidator as missing:
        console.print(str(missing))
    return Judged(pdfsig, itext)


def figures(run: Run, judged: Judged) -> dict[str, float]:
    """The result, one flat object: names to numbers. `valid` counts what every judge takes that was there."""
    total = len(run.result.signed) + len(run.result.refused)
    counts = [run.valid, run.untouched, *(n for n in (judged.pdfsig, judged.itext) if n is not None)]
    numbers: dict[str, float | None] = {
        "documents": total,
        "seconds": round(run.seconds, 2),
        "valid": min(counts),
        "peak_service_mb": round(run.peak_bytes["service"] / 1e6, 1),
        "peak_postgres_mb": round(run.peak_bytes["postgres"] / 1e6, 1),
        "peak_sandbox_mb": round(run.peak_bytes["sandbox"] / 1e6, 1),
        "documents_per_second": round(total / run.seconds, 1),
        "upload_seconds": round(run.result.seconds["upload"], 2),
        "sign_seconds": round(run.result.seconds["sign"], 2),
        "download_seconds": round(run.result.seconds["download"], 2),
        "valid_pyhanko": run.valid,
        "valid_pdfsig": judged.pdfsig,
        "valid_itext": judged.itext,
        "originals_untouched": run.untouched,
    }
    return {name: number for name, number in numbers.items() if number is not None}


def is_good(result: dict[str, Any], run: Run, count: int, *, visible_lt: bool) -> bool:
    if visible_lt:
        levels = {verdict.level for verdict in run.verdicts}
        if levels != {LONG_TERM} or result["peak_service_mb"] >= PEAK_MB:
            return False
    return bool(result["valid"] == result["documents"] == count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--visible-lt", action="store_true", help="visible signatures with an image, of level LT")
    parser.add_argument("--result", type=Path, help="file of the figures (default: in benchmarks/results)")
    parser.add_argument("flags", nargs="*", help="further flags of `batchseal serve`, after --")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end_by_signal)
    console = Console(highlight=False)
    left_out = tools.left_out({"valid_pdfsig": tools.PDFSIG, "valid_itext": tools.ITEXT})
    tools.say(left_out)
    taken = provenance()
    with held_folder("main-job") as folder:
        out = folder / "out"
        making = write_invoices(folder / "in", options.count)
        sum(1 for _ in track(making, "Invoices ", options.count, console=console))
        wishes = visible_long_term() if options.visible_lt else Wishes("Invoice issued", "Lisboa")
        batch = Batch(find_documents([folder / "in"]), wishes, out)
        (run,) = seal_and_check(console, [batch], out, *options.flags)
        judged = judge(console, run.result.signed, out / "root.pem", covers_all=not options.visible_lt)
        show(console, run, out, judge="pyHanko" if options.visible_lt else "pyHanko, whole file covered")
        result = {**figures(run, judged), **({"left_out": left_out} if left_out else {}), TAKEN: taken}
        console.print_json(data=result)
    name = "main-job-visible-lt.json" if options.visible_lt else "main-job.json"
    path = options.result or RESULTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if is_good(result, run, options.count, visible_lt=options.visible_lt) else 1


if __name__ == "__main__":
    sys.exit(main())
