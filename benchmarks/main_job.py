"""The main job: 2,500 invoices of 200 KB as one asynchronous request, every result judged by three others' code.

Prints a table and writes `results/main-job.json`. Ends with 1 unless every document is signed, valid for pyHanko (whole
file, chain to the root) and pdfsig, opened by iText without repair, and begins with its original.
"""

import argparse
import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.demo import Run, end_by_signal, seal_and_check, show
from harness import tools
from harness.held_folder import held_folder
from harness.invoices import write_invoices
from harness.provenance import TAKEN, provenance
from harness.validators import MissingValidator, itext_verify, pdfsig_verify
from rich.console import Console
from rich.progress import track

from batchseal.client.batch import find_documents

RESULT = Path(__file__).parent / "results" / "main-job.json"
CHUNK = 50


@dataclass(frozen=True, slots=True)
class Judged:
    """Files that a judge takes, or None where it is not installed."""

    pdfsig: int | None
    itext: int | None


def judge(console: Console, paths: list[Path], root: Path) -> Judged:
    certificate = root.read_bytes()
    chunks = [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]
    pdfsig: int | None = 0
    try:
        with ThreadPoolExecutor(2) as pool:
            runs = pool.map(lambda chunk: pdfsig_verify(chunk, certificate), chunks)
            for run in track(runs, "pdfsig   ", len(chunks), console=console):
                pdfsig = (pdfsig or 0) + sum(bool(v) and all(s.valid and s.whole_file for s in v) for v in run.values())
    except MissingValidator as missing:
        console.print(str(missing))
        pdfsig = None
    itext: int | None = None
    try:
        with console.status("iText"):
            reports = itext_verify(paths).values()
        itext = sum(
            r.pages > 0 and not r.rebuilt and bool(r.verdicts) and all(v.valid and v.whole_file for v in r.verdicts)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--result", type=Path, default=RESULT, help="file of the figures (default: %(default)s)")
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
        run = seal_and_check(console, find_documents([folder / "in"]), out, *options.flags)
        judged = judge(console, run.result.signed, out / "root.pem")
        show(console, run, out)
        result = {**figures(run, judged), **({"left_out": left_out} if left_out else {}), TAKEN: taken}
        console.print_json(data=result)
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["valid"] == result["documents"] == options.count else 1


if __name__ == "__main__":
    sys.exit(main())
