"""The examples in `clients/`, run as an integrator runs them: two documents, of which one fails at first and is handed in again.

The signing service is a double that fails the second sign call, and the service has one try for each document. So the operation
fails with one document signed, and the example has to resubmit it. What it has fetched is judged by pyHanko.
"""

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.invoices import invoice
from harness.misbehaving import Misbehaving
from harness.service import RunningService
from harness.validators import pyhanko_verify
from tests.clients.generators import HERE, Tools

CLIENTS = HERE.parents[1] / "clients"
EXAMPLE_SECONDS = 120
SECRET = "the secret of an example"
SAID = ["1 of 2 documents failed; handing them in again", "2 of 2 documents are signed"]
PDF_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Example:
    """How the example of a language is run: the program, and whether it is one of the tools of `make clients`."""

    language: str
    program: str
    file: str
    ours: bool = False

    def command(self, tools: Tools) -> list[str]:
        """Raises SystemExit if the program is not there."""
        program = str(tools.folder / self.program) if self.ours else shutil.which(self.program)
        if program is None:
            raise SystemExit(f"the example in {self.language} needs {self.program} (.ci/run installs it)")
        return [program, str(CLIENTS / self.language / self.file)]


EXAMPLES = (
    Example("python", "python", "example.py", ours=True),
    Example("typescript", "node", "example.ts", ours=True),
    Example("java", "java", "Example.java"),
    Example("php", "php", "example.php"),
    Example("curl", "sh", "example.sh"),
)


@contextmanager
def failing_once() -> Iterator[tuple[Misbehaving, str]]:
    """A signing service, and its address. `fault` of the double says what it does wrong."""
    double, loop = Misbehaving(multisign=1), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="signing service")
    thread.start()
    try:
        yield double, asyncio.run_coroutine_threadsafe(double.start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(double.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run_examples(tools: Tools, folder: Path) -> list[str]:
    """Runs all examples, and returns their languages. Raises SystemExit for the first one that goes wrong."""
    place = folder / "examples"
    shutil.rmtree(place, ignore_errors=True)
    service_folder = place / "service"
    (service_folder / "work").mkdir(parents=True)
    (service_folder / "work" / "client-services-config.json").write_text(f'{{"A": {{"secret": "{SECRET}"}}}}')
    files = [place / f"invoice {number}.pdf" for number in range(2)]
    for number, file in enumerate(files):
        file.write_bytes(invoice(number, size_bytes=PDF_BYTES))
    with failing_once() as (double, address):
        flags = f"--service-domain={address}", "--upstream-tries=1"
        with RunningService(*flags, folder=service_folder) as service:
            for example in EXAMPLES:
                run_example(example, tools, service, double, place / example.language, files)
                print(f"{example.language}: the example signed, failed, resubmitted and fetched", flush=True)
    return [example.language for example in EXAMPLES]


def run_example(
    example: Example, tools: Tools, service: RunningService, double: Misbehaving, place: Path, files: list[Path]
) -> None:
    place.mkdir()
    before = double.calls.get("signHash", 0)
    double.fault = lambda path, number: "500" if path == "signHash" and number == before + 2 else ""
    environment = os.environ | {
        "BATCHSEAL_URL": service.url,
        "BATCHSEAL_CLIENT_ID": "A",
        "BATCHSEAL_SECRET": SECRET,
    }
    done = subprocess.run(
        [*example.command(tools), f"FT 2026/1 ção: {example.language}", *map(str, files)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=EXAMPLE_SECONDS,
    )
    said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    if done.returncode or [line for line in done.stdout.splitlines() if "documents" in line] != SAID:
        raise SystemExit(f"the example in {example.language} failed ({done.returncode}):\n{said}")
    if (calls := double.calls["signHash"] - before) != 3:
        raise SystemExit(f"the example in {example.language} cost {calls} sign calls and not 3")
    for file in files:
        signed = place / "signed" / file.name
        if not signed.read_bytes().startswith(file.read_bytes()):
            raise SystemExit(f"{signed} does not begin with its original")
        verdicts = pyhanko_verify(signed, double.certificate)
        if not verdicts or not all(verdict.good for verdict in verdicts):
            raise SystemExit(f"{signed}: {verdicts}")


def check_types(tools: Tools, modules: Path, folder: Path) -> None:
    """Compiles the example in TypeScript strictly, with the compiler among these modules."""
    place = folder / "examples-typescript"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(CLIENTS / "typescript", place)
    (place / "node_modules").symlink_to(modules)
    (place / "package.json").write_text('{"type": "module"}')
    tools.run("node", modules / "typescript/bin/tsc", "-p", ".", folder=place)
