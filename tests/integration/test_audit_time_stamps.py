"""The head of the audit chain is stamped by a real authority (the sandbox's), and a chain that was written anew is noticed."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import asyncpg
import pytest
from harness.held_folder import HeldFolder
from harness.service import RunningService
from harness.waiting import until
from tests.support.certificates import self_signed_pair
from tests.support.service import ASYNC, FAST, batch, documents, finished, post

from batchseal.audit.chain import make_link
from batchseal.store.rows import AuditEntry

STAMPED = "the head of the audit chain was time-stamped"


def audit(service: RunningService, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "batchseal.cli", "audit", *arguments, f"--temp-folder={service.folder / 'temp'}"]
    command.append(f"--work-folder={service.folder / 'work'}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def stamped():
    """A service whose chain has a time stamp: it is made in the first round after a start."""
    held = HeldFolder("run")
    try:
        with RunningService(*FAST, folder=held.path) as service:
            assert post(service, batch("one", documents(2)), ASYNC)[0] == 200
            finished(service, "one")
            until(lambda: audit(service, "verify")[1].startswith("The audit trail is intact: 2 entries"))
        with RunningService(*FAST, folder=held.path) as service:
            until(lambda: STAMPED in service.log.read_text())
            yield service
    finally:
        held.remove()


def as_owner(service: RunningService, *statements: str) -> None:
    """Does what whoever owns the database can do."""

    async def run() -> None:
        url = (service.folder / "temp" / "database.url").read_text().strip().replace("batchseal@", "postgres@", 1)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET search_path = batchseal; SET session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def test_the_stamp_is_verified_logged_and_exported(stamped, tmp_path):
    code, said = audit(stamped, "verify")
    assert code == 0 and "1 time stamps over it are right" in said
    (line,) = (json.loads(text) for text in stamped.log.read_text().splitlines() if STAMPED in text)
    assert line["position"] == 2 and line["token"] and line["category"] == "database"
    out = tmp_path / "audit.jsonl"
    code, said = audit(stamped, "export", f"--out={out}")
    assert code == 0 and said.endswith(f" entries written to {out}\n")
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    stamps = [one["timeStamp"] for one in lines if "timeStamp" in one]
    assert [one["token"] for one in stamps] == [line["token"]] and stamps[0]["link"] == line["link"]
    code, said = audit(stamped, "verify", str(out))
    assert code == 0 and "1 time stamps over it are right" in said


def test_an_export_that_was_changed_is_noticed(stamped, tmp_path):
    out = tmp_path / "audit.jsonl"
    audit(stamped, "export", f"--out={out}")
    text = out.read_text()
    token = json.loads(next(line for line in text.splitlines() if "timeStamp" in line))["timeStamp"]["token"]
    for wrong in (text.replace(token[:40], token[40:80]), text.replace('"signed":2', '"signed":3')):
        assert wrong != text
        out.write_text(wrong)
        code, said = audit(stamped, "verify", str(out))
        assert code == 1 and "BROKEN" in said


def test_authorities_that_are_not_trusted_are_not_believed(stamped, tmp_path):
    other, _ = self_signed_pair(tmp_path, "other")
    code, said = audit(stamped, "verify", f"--timestamp-roots={other}")
    assert code == 1 and "leads to no trusted root" in said


def test_a_chain_that_its_owner_wrote_anew_is_noticed(stamped):
    """Each link is right, and only the time stamp shows it."""

    async def entries() -> list[AuditEntry]:
        connection = await asyncpg.connect((stamped.folder / "temp" / "database.url").read_text().strip())
        try:
            await connection.execute("SELECT set_config('batchseal.scope', '*', false)")
            rows = await connection.fetch("SELECT * FROM batchseal.audit WHERE position <= 2 ORDER BY position")
            return [AuditEntry(**row) for row in rows]
        finally:
            await connection.close()

    before = asyncio.run(entries())
    statements, link = [], bytes(32)
    for entry in before:
        changed = replace(entry, client_service="somebody else")
        link = make_link(link, changed)
        statements.append(
            f"UPDATE audit SET client_service = 'somebody else', link = '\\x{link.hex()}' WHERE position = {entry.position}"
        )
    as_owner(stamped, *statements)
    try:
        code, said = audit(stamped, "verify")
        assert code == 1 and "the chain up to there was changed after" in said
        assert "or the one before it was changed" not in said
    finally:
        back = [
            f"UPDATE audit SET client_service = '{one.client_service}', link = '\\x{one.link.hex()}'"
            f" WHERE position = {one.position}"
            for one in before
        ]
        as_owner(stamped, *back)
    assert audit(stamped, "verify")[0] == 0


def test_entries_that_were_cut_off_are_noticed(stamped):
    as_owner(
        stamped, "CREATE TABLE cut AS SELECT * FROM audit WHERE position >= 2", "DELETE FROM audit WHERE position >= 2"
    )
    try:
        code, said = audit(stamped, "verify")
        assert code == 1 and "entry 2 is missing, over which there is a time stamp" in said
    finally:
        as_owner(stamped, "INSERT INTO audit SELECT * FROM cut", "DROP TABLE cut")
    assert audit(stamped, "verify")[0] == 0


def test_nobody_may_change_a_time_stamp(stamped):
    async def change(statement: str) -> None:
        connection = await asyncpg.connect((stamped.folder / "temp" / "database.url").read_text().strip())
        try:
            await connection.execute("SELECT set_config('batchseal.scope', '*', false)")
            await connection.execute(statement)
        finally:
            await connection.close()

    for statement in ("DELETE FROM batchseal.audit_time_stamps", "UPDATE batchseal.audit_time_stamps SET token = ''"):
        with pytest.raises(asyncpg.PostgresError, match=r"append-only|permission denied"):
            asyncio.run(change(statement))
