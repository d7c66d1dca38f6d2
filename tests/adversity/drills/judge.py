"""What must be true of an operation after a drill, found out without the service's own indexes where that matters."""

import base64
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
from harness.service import RunningService, descendants
from harness.stored import connect_as_owner, signatures_by_operation, stored_payloads
from tests.support.service import BASE, get

from batchseal.commands.verify import check_file, check_files, load_roots

FEW_FILES = 10


def result_of(service: RunningService, operation_id: int) -> dict[str, object]:
    status, _, body = get(service, f"{BASE}/operation/sign/detail/{operation_id}/contentInResponse/true", 120)
    assert status == 200, (status, body[:300])
    answer: dict[str, object] = json.loads(body)
    return answer


def judge_result(
    service: RunningService, operation_id: int, contents: Sequence[bytes], verified: int | None = None
) -> None:
    """Every document is there once, in order, signed, its original untouched; `verified` of them are validated too."""
    answer = result_of(service, operation_id)
    assert answer["status"] == "EXECUTED", answer["status"]
    entries = answer["documentList"]
    assert isinstance(entries, list)
    assert len(entries) == len(contents), f"{len(entries)} of {len(contents)} documents"
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (entry, original) in enumerate(zip(entries, contents, strict=True)):
            assert entry["signStatus"] == "SIGNED", entry
            signed = base64.b64decode(entry["signedContent"])
            assert signed.startswith(original), f"document {number}: its original is not a prefix"
            assert len(signed) > len(original)
            if verified is None or number < verified:
                paths.append(Path(folder, f"{number}.pdf"))
                paths[-1].write_bytes(signed)
        roots = load_roots([service.root])
        # A process that checks takes longer to start than a few files take to be checked here.
        few = len(paths) <= FEW_FILES
        verdicts = [check_file(path, roots) for path in paths] if few else check_files(paths, roots, 2)
        bad = [verdict for verdict in verdicts if not verdict.valid]
        assert bad == [], f"{len(bad)} signatures do not hold: {bad[0]}"


def judge_stored(service: RunningService, operations: int, documents: int) -> None:
    """Every payload is whole, there is at least one for each operation, and one signature for each document."""
    payloads = stored_payloads(service.folder / "temp")
    assert len(payloads) >= operations, f"{len(payloads)} payloads for {operations} operations"
    for payload in payloads:
        assert not (torn := payload.torn_bytes()), f"{payload.path.name}: {torn} bytes at its end are no frame"
    judge_signatures(service, operations, documents)


def judge_signatures(service: RunningService, operations: int, documents: int) -> None:
    """There is one signature for each document, wherever the payloads lie."""
    found = signatures_by_operation(service.folder / "temp")
    assert len(found) == operations, f"{len(found)} of {operations} operations have signatures"
    for operation, ordinals in found.items():
        assert set(ordinals.values()) <= {1}, f"operation {operation}: a document has two signatures"
        assert len(ordinals) == documents, f"operation {operation}: {len(ordinals)} of {documents} documents have one"


async def owner(service: RunningService) -> asyncpg.Connection:
    """To the embedded database, as the owner of its tables, who sees all rows."""
    return await connect_as_owner(service.folder / "temp")


def living(place: Path) -> list[int]:
    """Processes that run on this folder: by their command line, their working folder, or a file they have open."""
    wanted, found = str(place), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            names = [os.readlink(entry / "cwd"), *(os.readlink(file) for file in (entry / "fd").iterdir())]
            command = (entry / "cmdline").read_text("utf-8", "replace")
            if wanted in command or any(name.startswith(wanted + "/") for name in names):
                found.append(int(entry.name))
    return found


def own_bytes(service: RunningService) -> int:
    """What the service's processes hold for themselves, database and sandbox left out. The smallest of some samples: between
    requests. Pages of files do not count: they are everybody's, and PSS moves with whoever else has them mapped.
    """
    samples = []
    for _ in range(10):
        total = 0
        for pid, command in [(service.process.pid, ""), *descendants(service.process.pid)]:
            if "postgres" not in command.partition("\0")[0] and "batchseal.sandbox" not in command:
                with suppress(OSError):
                    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
                    total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
        samples.append(total)
        time.sleep(0.1)
    return min(samples)
