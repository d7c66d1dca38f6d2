"""`make demo`: seals invoices end to end, in PDF and in XML, and checks every signature by code that is not ours.

Starts a service with its defaults (embedded Postgres, sandbox signer) on a free port, sends the batches through the
project's own client, and leaves only the signed files behind. A last batch of few documents is of level LT: it has all
that a verifier needs later. Everything that this asks for comes from the sandbox, so that no network is needed.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from harness.held_folder import HeldFolder
from harness.invoices import write_invoices
from harness.service import RunningService
from harness.xml_invoices import write_xml_invoices
from rich.console import Console
from rich.progress import track
from rich.table import Table

from batchseal.client.batch import BatchBody, Document, Wishes, find_documents
from batchseal.client.http import Client
from batchseal.client.judges.verdicts import Verdict
from batchseal.client.seal import ATTACHED, BatchResult, seal_batch
from batchseal.commands import verify
from batchseal.commands.sign import StepBars
from batchseal.commands.verify import check_files, load_roots
from batchseal.errors import BatchsealError
from batchseal.settings.client_services import ClientServices

VERIFIERS = 2
LONG_TERM = "LT"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run showed. `untouched` counts the signed files that hold the whole of their original."""

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


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents that go out in one request, and the folder for the signed files."""

    documents: list[Document]
    wishes: Wishes
    out: Path


def seal_and_check(console: Console, batches: Sequence[Batch], out: Path, *flags: str) -> list[Run]:
    """The batches, one after the other, through one service of their own. `out` gets its root certificate.

    The time of each counts from the first byte sent to the last file stored.
    """
    console.print("Starting the service ...")
    sealed: list[tuple[BatchResult, float]] = []
    with RunningService("--operator-port=any", *flags) as service:
        memory = service.watch_memory()
        for line in service.log.read_text("utf-8").splitlines():
            if "operator's page" in line:
                console.print(line, markup=False, soft_wrap=True)
        services = ClientServices.load(service.services_file)
        client = Client(service.url, services.ids()[0], next(iter(services)).secret)
        for batch in batches:
            body = BatchBody(batch.documents, f"demo {time.time_ns()}", "Demo", batch.wishes)
            bars = StepBars(console)
            with bars.progress:
                began = time.monotonic()
                result = seal_batch(client, body, batch.out, bars.report)
                sealed.append((result, time.monotonic() - began))
        client.close()
        shutil.copy(service.root, out / "root.pem")
    runs = []
    for batch, (result, seconds) in zip(batches, sealed, strict=True):
        checking = check_files(result.signed, load_roots([out / "root.pem"]), VERIFIERS)
        verdicts = list(track(checking, "Checking ", len(result.signed), console=console))
        by_name = {document.name: document.path for document in batch.documents}
        untouched = sum(holds(signed, by_name[signed.name.removesuffix(ATTACHED)]) for signed in result.signed)
        runs.append(Run(result, seconds, memory.peak, verdicts, untouched))
    return runs


def holds(signed: Path, original: Path) -> bool:
    """Whether the original is in the signed file: for XML around one insertion, where the slash of an empty element may go."""
    longer, shorter = signed.read_bytes(), original.read_bytes()
    if signed.suffix == ATTACHED:
        return len(longer) > len(shorter) and shorter in longer
    if signed.suffix != ".xml":
        return len(longer) > len(shorter) and longer.startswith(shorter)
    before = next(
        (at for at, (one, other) in enumerate(zip(longer, shorter, strict=False)) if one != other), len(shorter)
    )
    behind = shorter[before:]
    return len(longer) > len(shorter) and longer.endswith((behind, behind.removeprefix(b"/")))


def show(
    console: Console, run: Run, out: Path, title: str = "PDF (PAdES)", judge: str = "pyHanko, whole file covered"
) -> None:
    table = Table(show_header=False, title=title, title_justify="left")
    total = len(run.result.signed) + len(run.result.refused)
    steps = run.result.seconds
    table.add_row("documents", f"{total} ({len(run.result.signed)} signed, {len(run.result.refused)} refused)")
    table.add_row("valid", f"{run.valid} of {len(run.verdicts)} for {judge}, chain to the root")
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


def show_long_term(console: Console, run: Run, out: Path) -> bool:
    """The table of `batchseal verify`, which says why a file is not of its level. Returns whether all are good."""
    place = Path(os.path.relpath(out))
    root = Path(os.path.relpath(out.parent / "root.pem"))
    console.print(f"Level {LONG_TERM}: batchseal verify --root {root} {place}", markup=False, soft_wrap=True)
    verified = verify.run([f"--root={root}", str(place)])
    return verified == 0 and run.good and all(verdict.level == LONG_TERM for verdict in run.verdicts)


def write_long_term_documents(folder: Path, count: int) -> None:
    """Invoices in XML, and to every second of them a list of what was delivered."""
    for number, path in enumerate(write_xml_invoices(folder, count, seed=1)):
        if number % 2:
            path.with_suffix(".csv").write_text("".join(f"{line};delivered\n" for line in range(1, 200)))


def clear(out: Path) -> None:
    """Removes what an earlier run left; anything else in the folder stays."""
    long_term = out / "long-term"
    for old in (*out.glob("*.pdf"), *out.glob("*.xml"), *long_term.glob("*.xml"), *long_term.glob("*" + ATTACHED)):
        old.unlink()
    (out / "root.pem").unlink(missing_ok=True)


def end_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, help="folder of your own PDFs (default: generated invoices)")
    parser.add_argument("--count", type=int, default=100, help="generated invoices (default: %(default)s)")
    parser.add_argument("--xml-count", type=int, default=50, help="generated XML invoices (default: %(default)s)")
    parser.add_argument(
        "--long-term-count", type=int, default=4, help="XML invoices at level LT, and half as many other files"
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end_by_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
    console = Console(highlight=False)
    held = HeldFolder("demo")
    inputs = held.path
    try:
        if options.docs is None:
            making = write_invoices(inputs, options.count)
            sum(1 for _ in track(making, "Invoices ", options.count, console=console))
        folder = options.docs.expanduser() if options.docs else inputs
        batches = [Batch(find_documents([folder]), Wishes("Invoice issued", "Lisboa"), options.out)]
        wishes = Wishes(location="Lisboa", parent="ext:ExtensionContent")
        if options.docs is None and options.xml_count:
            xml = inputs / "xml"
            sum(1 for _ in write_xml_invoices(xml, options.xml_count))
            batches.append(Batch(find_documents([xml], "XAdES"), wishes, options.out))
        long_term = options.out / "long-term"
        if options.docs is None and options.long_term_count:
            write_long_term_documents(inputs / "long-term", options.long_term_count)
            found = find_documents(sorted((inputs / "long-term").iterdir()))
            batches.append(Batch(found, replace(wishes, level=LONG_TERM), long_term))
        clear(options.out)
        run, *more = seal_and_check(console, batches, options.out)
        out = Path(os.path.relpath(options.out))
        show(console, run, out)
        long_term_is_good = True
        for batch, further in zip(batches[1:], more, strict=True):
            if batch.out == long_term:
                long_term_is_good = show_long_term(console, further, long_term)
            else:
                show(console, further, out, "XML (XAdES)", "lxml and cryptography")
    except BatchsealError as problem:
        console.print(f"batchseal: {problem.cause}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    finally:
        held.remove()
    # With your own files a refusal is an answer; with ours it is a fault.
    all_good = long_term_is_good and all(one.good for one in (run, *more))
    return 0 if all_good and (options.docs or not any(one.result.refused for one in (run, *more))) else 1


if __name__ == "__main__":
    sys.exit(main())
