"""`make demo`: seals a batch of invoices end to end and checks every signature with pyHanko.

Starts a service with its defaults (embedded Postgres, sandbox signer) on a free port, sends the batch through the
project's own client, and leaves only the signed files behind.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from harness.invoices import write_invoices
from harness.service import RunningService
from rich.console import Console
from rich.progress import track
from rich.table import Table

from batchseal.client.batch import BatchBody, Document, Wishes, find_documents
from batchseal.client.http import Client
from batchseal.client.seal import BatchResult, seal_batch
from batchseal.commands.sign import StepBars
from batchseal.commands.verify import Verdict, check_files, load_roots
from batchseal.errors import BatchsealError
from batchseal.settings.client_services import ClientServices

VERIFIERS = 2
COMPARE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """What a run showed. `untouched` counts the signed files that begin with the whole of their original."""

    result: BatchResult
    seconds: float
    peak_bytes: dict[str, int]
    verdicts: list[Verdict]
    untouched: int

    @property
    def valid(self) -> int:
        return sum(verdict.valid for verdict in self.verdicts)

    @property
    def good(self) -> bool:
        return bool(self.verdicts) and self.valid == self.untouched == len(self.verdicts)


def seal_and_check(console: Console, documents: list[Document], out: Path, *flags: str) -> Run:
    """One batch through a service of its own. The time counts from the first byte sent to the last file stored."""
    console.print("Starting the service ...")
    with RunningService(*flags) as service:
        services = ClientServices.load(service.services_file)
        client = Client(service.url, services.ids()[0], next(iter(services)).secret)
        body = BatchBody(documents, f"demo {time.time_ns()}", "Demo", Wishes("Invoice issued", "Lisboa"))
        bars = StepBars(console)
        with bars.progress:
            began = time.monotonic()
            result = seal_batch(client, body, out, bars.report)
            seconds = time.monotonic() - began
        client.close()
        shutil.copy(service.root, out / "root.pem")
    checking = check_files(result.signed, load_roots([out / "root.pem"]), VERIFIERS)
    verdicts = list(track(checking, "Checking ", len(result.signed), console=console))
    by_name = {document.name: document.path for document in documents}
    untouched = sum(begins_with(signed, by_name[signed.name]) for signed in result.signed)
    return Run(result, seconds, service.memory.peak, verdicts, untouched)


def begins_with(signed: Path, original: Path) -> bool:
    with signed.open("rb") as longer, original.open("rb") as shorter:
        while piece := shorter.read(COMPARE_BYTES):
            if longer.read(len(piece)) != piece:
                return False
        return bool(longer.read(1))


def show(console: Console, run: Run, out: Path) -> None:
    table = Table(show_header=False, title="Batchseal", title_justify="left")
    total = len(run.result.signed) + len(run.result.refused)
    steps = run.result.seconds
    table.add_row("documents", f"{total} ({len(run.result.signed)} signed, {len(run.result.refused)} refused)")
    table.add_row("valid for pyHanko", f"{run.valid} of {len(run.verdicts)}, whole file covered, chain to the root")
    table.add_row("originals untouched", f"{run.untouched} of {len(run.verdicts)}")
    split = f"sending {steps['upload']:.1f}, signing {steps['sign']:.1f}, fetching {steps['download']:.1f}"
    table.add_row("seconds", f"{run.seconds:.1f} ({split})")
    table.add_row("documents per second", f"{total / run.seconds:.0f}")
    peak = {part: f"{size / 1e6:.0f} MB" for part, size in run.peak_bytes.items()}
    apart = f"embedded Postgres {peak['postgres']} and sandbox {peak['sandbox']} apart"
    table.add_row("peak memory of the service", f"{peak['service']} ({apart})")
    table.add_row("signed files", f"{out} (root.pem beside them)")
    console.print(table)
    for refused in run.result.refused[:20]:
        console.print(f"refused  {refused.document.path.name}: {refused.cause}", markup=False, soft_wrap=True)
    for verdict in [v for v in run.verdicts if not v.valid][:20]:
        console.print(f"NOT VALID  {verdict.path}: {verdict.problem}", markup=False, soft_wrap=True)


def clear(out: Path) -> None:
    """Removes what an earlier run left; anything else in the folder stays."""
    for old in (*out.glob("*.pdf"), out / "root.pem"):
        old.unlink(missing_ok=True)


def end_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, help="folder of your own PDFs (default: generated invoices)")
    parser.add_argument("--count", type=int, default=100, help="generated invoices (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end_by_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
    console = Console(highlight=False)
    inputs = Path(tempfile.mkdtemp(prefix="batchseal-demo-"))
    try:
        if options.docs is None:
            making = write_invoices(inputs, options.count)
            sum(1 for _ in track(making, "Invoices ", options.count, console=console))
        documents = find_documents([options.docs.expanduser() if options.docs else inputs])
        clear(options.out)
        run = seal_and_check(console, documents, options.out)
        show(console, run, Path(os.path.relpath(options.out)))
    except BatchsealError as problem:
        console.print(f"batchseal: {problem.cause}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    finally:
        shutil.rmtree(inputs, ignore_errors=True)
    # With your own files a refusal is an answer; with ours it is a fault.
    return 0 if run.good and (options.docs or not run.result.refused) else 1


if __name__ == "__main__":
    sys.exit(main())
