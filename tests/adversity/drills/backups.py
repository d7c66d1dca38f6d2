"""A backup is made while documents are being signed, and restored into an empty folder."""

import asyncio
import http.client
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from harness.service import RunningService
from harness.waiting import until
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import ASYNC, BASE, FAST, authorization, batch, client_of, documents, finished, post

# So many documents are under way when the backup begins, in operations of this size; the sandbox is slow enough for that.
DOCUMENTS, EACH = 500, 25
SIGNED = "SELECT operation_id, ordinal, signature FROM batchseal.signatures WHERE signature <> ''"
SLOW = (*FAST, "--sandbox-latency=150", "--sandbox-multisign=10")


@drill("backup", quick=2, short=10, long=50)
def backup(folder: Path) -> Iterator[Trial]:
    """What was acknowledged before the backup is there, what was finished comes byte by byte, the rest is held until told."""
    contents = documents(EACH)

    def trial(number: int) -> Figures:
        place, copy, again = (folder / f"{name} {number}" for name in ("first", "copy", "again"))
        for one in (place, again):
            one.mkdir()
        shutil.rmtree(copy, ignore_errors=True)
        with RunningService(*SLOW, folder=place) as service:
            acknowledged = acknowledge(service, number, contents)
            wanted = 1 + number % 5 * (len(acknowledged) // 6)
            until(lambda: len(ended(service, acknowledged)) >= wanted, within(120))
            before = ended(service, acknowledged)
            results = {reference: result(service, before[reference]) for reference in before}
            more = threading.Thread(target=acknowledge, args=(service, number + 1000, contents[:5]))
            more.start()  # what comes in meanwhile may be in the backup or not
            run("backup", str(copy), f"--temp-folder={place / 'temp'}")
            more.join()
        shutil.copytree(place / "work", again / "work")
        run("restore", str(copy), f"--temp-folder={again / 'temp'}")
        listed = run("operations", "list", "--held", f"--temp-folder={again / 'temp'}")
        with RunningService(*FAST, folder=again) as service:
            return judge(service, acknowledged, results, listed, again)

    yield trial


def acknowledge(service: RunningService, number: int, contents: list[bytes]) -> list[str]:
    references = [f"backup {number} {one}" for one in range(DOCUMENTS // EACH)]
    for reference in references:
        assert post(service, batch(reference, contents), ASYNC)[0] == 200
    return references


def ended(service: RunningService, references: list[str]) -> dict[str, int]:
    """The operations that have ended, by reference."""
    client = client_of(service)
    try:
        found = {reference: client.status(reference) for reference in references}
        return {reference: one.operation_id for reference, one in found.items() if one.finished}
    finally:
        client.close()


def result(service: RunningService, operation_id: int) -> list[bytes]:
    """The documents of an operation, as the service gives them out."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    headers, found = {"Authorization": authorization(service)}, list[bytes]()
    try:
        for ordinal in range(EACH):
            connection.request(
                "GET", f"{BASE}/operation/sign/detail/{operation_id}/documents/{ordinal}", headers=headers
            )
            reply = connection.getresponse()
            found.append(reply.read())
            assert reply.status == 200, found[-1][:300]
    finally:
        connection.close()
    return found


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "batchseal.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments[0]}: {done.stderr}"
    return done.stdout


def judge(
    service: RunningService, acknowledged: list[str], results: dict[str, list[bytes]], listed: str, folder: Path
) -> Figures:
    """The service after the restore."""
    done = ended(service, acknowledged)
    held = [reference for reference in acknowledged if reference not in done]
    assert set(results) <= set(done), f"finished before, and not now: {set(results) - set(done)}"
    for reference, before in results.items():
        assert result(service, done[reference]) == before, f"{reference} is another result than before the backup"
    assert all(repr(reference) in listed for reference in held), "a held operation is not listed"
    signed_before = signed_values(folder)
    run("operations", "resume", "--held", f"--temp-folder={folder / 'temp'}")
    for reference in held:
        assert finished(service, reference, within(60)).status == "EXECUTED"
    after = signed_values(folder)
    assert signed_before.items() <= after.items(), "a document that the backup knows as signed was signed again"
    return {"finished_max": len(results), "held_max": len(held), "signed_in_backup_max": len(signed_before)}


def signed_values(folder: Path) -> dict[tuple[int, int], bytes]:
    """The signature value of each document that has one, by operation and ordinal."""

    async def read() -> dict[tuple[int, int], bytes]:
        connection = await asyncpg.connect((folder / "temp" / "database.url").read_text().strip())
        try:
            await connection.execute("SELECT set_config('batchseal.scope', '*', false)")
            rows = await connection.fetch(SIGNED)
            return {(row["operation_id"], row["ordinal"]): row["signature"] for row in rows}
        finally:
            await connection.close()

    return asyncio.run(read())
