"""The scenario that every generated client plays: the twelve calls of the contract, a range of a document, and a refusal.

A player gets the path of a JSON file: `url`, `id` and `secret` of a client service, a `reference` of its own, the path of a `pdf`
and a folder `out`. It writes `calls.json` there, each call with its HTTP status and what the typed reply said, and the binary
results as files. What is right is known here alone.
"""

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from harness.service import RunningService
from harness.validators import pyhanko_verify

from batchseal.settings.client_services import ClientServices

PLAY_SECONDS = 120
RANGE_BYTES = 100
# Each call: its HTTP status, and the status of the operation with the number of documents that came with content, or the file.
EXPECTED: dict[str, list[Any]] = {
    "token": [200, "bearer"],
    "sign_json": [200, "EXECUTED 1"],
    "sign_files": [200, "EXECUTED 2"],
    "register_json": [202, "PENDING_EXECUTION"],
    "register_files": [200, "PENDING_EXECUTION"],
    "status_by_reference": [200, "EXECUTED"],
    "status_by_id": [200, "EXECUTED"],
    "result_by_reference": [200, "EXECUTED 1"],
    "result_by_id": [200, "EXECUTED 0"],
    "documents_by_id": [200, "documents.zip"],
    "document_by_id": [200, "document.pdf"],
    "operation_of_document": [200, "the operation"],
    "document_by_id, a range": [206, "range.bin"],
    "status_by_reference, unknown": [404, "batchseal.not_found"],
}
SIGNED = ("sign_json.pdf", "sign_files.pdf", "result.pdf", "document.pdf")


def play(service: RunningService, name: str, command: Sequence[str], folder: Path, pdf: Path) -> int:
    """Lets a client play the scenario. Returns the number of its calls; raises SystemExit if one of them went wrong.

    `folder` is that of the client, where `command` is run.
    """
    services = ClientServices.load(service.services_file)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    told = {
        "url": service.url,
        "id": services.ids()[0],
        "secret": next(iter(services)).secret,
        "reference": f"FT 2021/5: {name}",
        "pdf": str(pdf),
        "out": str(out),
    }
    scenario = folder / "scenario.json"
    scenario.write_text(json.dumps(told))
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [*command, str(scenario)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PLAY_SECONDS,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed ({done.returncode}):\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    calls = json.loads((out / "calls.json").read_text())
    wrong = {call: calls.get(call) for call, expected in EXPECTED.items() if calls.get(call) != expected}
    if wrong or calls.keys() != EXPECTED.keys():
        raise SystemExit(f"{name}: these calls went wrong: {wrong}; {calls.keys() ^ EXPECTED.keys()}")
    if faults := list(binary_faults(out, pdf.read_bytes(), service.root)):
        raise SystemExit(f"{name}: " + "; ".join(faults))
    return len(calls)


def binary_faults(out: Path, original: bytes, root: Path) -> list[str]:
    """What is wrong with the files that a client wrote: they are the same by every way, and their signatures are valid."""
    trusted = x509.load_pem_x509_certificate(root.read_bytes()).public_bytes(Encoding.DER)
    files = {name: (out / name).read_bytes() for name in (*SIGNED, "documents.zip", "range.bin")}
    faults = [f"{name} does not begin with its original" for name in SIGNED if not files[name].startswith(original)]
    with zipfile.ZipFile(io.BytesIO(files["documents.zip"])) as archive:
        entries = [archive.read(entry) for entry in archive.namelist()]
    document = files["document.pdf"]
    if not entries == [files["result.pdf"]] == [document]:
        faults.append("the zip file, the JSON and the document itself differ")
    if files["range.bin"] != document[:RANGE_BYTES]:
        faults.append("the range is not that of the document")
    for name in SIGNED:
        verdicts = pyhanko_verify(out / name, trusted)
        if not verdicts or not all(verdict.good for verdict in verdicts):
            faults.append(f"{name}: {verdicts}")
    return faults
