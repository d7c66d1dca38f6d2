"""`make clients`: runs the examples in `clients/`, generates clients from the committed OpenAPI document, and lets them sign."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness.invoices import invoice
from harness.openapi_copy import COPY, digest
from harness.provenance import ROOT, TAKEN, provenance
from harness.service import RunningService
from tests.clients.examples import check_types, run_examples
from tests.clients.generators import GENERATED, PLAYED, Generator, Tools, versions
from tests.clients.scenario import play

RESULT = ROOT / "benchmarks" / "results" / "clients.json"
PDF_BYTES = 20_000


def fresh_folder(where: Path, generator: Generator) -> Path:
    folder = where / generator.name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="the examples, and only the clients that play the scenario"
    )
    parser.add_argument("--tools", type=Path, required=True, help="where the programs of the generators are")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "clients", help="where clients are generated")
    options = parser.parse_args()
    taken, tools = provenance(), Tools(options.tools)
    folders: dict[str, Path] = {}
    for generator in PLAYED if options.short else (*PLAYED, *GENERATED):
        began = time.monotonic()
        folders[generator.name] = fresh_folder(options.folder, generator)
        generator.generate(tools, COPY, folders[generator.name])
        print(f"{generator.name}: generated in {time.monotonic() - began:.0f} s", flush=True)
    check_types(tools, folders["openapi-ts"] / "node_modules", options.folder)
    examples = run_examples(tools, options.folder)
    calls: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary, RunningService("--sandbox-credential=p256") as service:
        pdf = Path(temporary) / "invoice.pdf"
        pdf.write_bytes(invoice(1, size_bytes=PDF_BYTES))
        for generator in PLAYED:
            assert generator.play
            folder, (program, argument) = folders[generator.name], generator.play
            command = (str(tools.folder / program), argument)
            calls[generator.name] = play(service, generator.name, command, folder, pdf)
            print(f"{generator.name}: {calls[generator.name]} calls went right", flush=True)
    result = {
        "document_sha256": digest(json.loads(COPY.read_bytes())),
        "calls": calls,
        "examples": examples,
        "generated": sorted(folders),
        "versions": versions(tools, folders["openapi-ts"]),
        TAKEN: taken,
    }
    if not options.short:
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{len(calls) + len(examples)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
