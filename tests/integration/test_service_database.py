"""The whole service on a database that it does not bring itself: through a pooler, with its addresses in files."""

import asyncio
import base64
import http.client
import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from harness.service import RunningService, free_port
from harness.tools import OLDER_POSTGRES, OTHER_POSTGRES, PGBOUNCER, missing
from harness.waiting import until
from tests.integration.test_store_database import ALL_ROWS, owner_of
from tests.support.pgbouncer import pgbouncer
from tests.support.service import ASYNC, BASE, FAST, SYNC, batch, client_of, documents, finished, post

from batchseal.postgres import EmbeddedPostgres

needs_pgbouncer = pytest.mark.skipif(bool(missing(PGBOUNCER)), reason=f"not installed: {missing(PGBOUNCER)}")
needs_postgres = pytest.mark.skipif(bool(missing(OLDER_POSTGRES)), reason=f"not installed: {missing(OLDER_POSTGRES)}")
CALLERS, DOCUMENTS = ("A", "B"), 3


def ask(service: RunningService, caller: str, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    secret = base64.b64encode(f"{caller}:secret".encode()).decode()
    headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"null")
    finally:
        connection.close()


def sign_for_both(service: RunningService) -> None:
    """Both callers use the same references, and each gets its own operations, all of them."""
    contents = documents(DOCUMENTS)
    for caller in CALLERS:
        assert ask(service, caller, "POST", ASYNC, batch("same", contents))[0] == 200
        assert ask(service, caller, "POST", SYNC, batch("at once", contents[:1]))[0] == 200
        assert ask(service, caller, "POST", ASYNC, batch("same", contents))[0] == 409
    ids = {caller: the_one(service, caller, "same") for caller in CALLERS}
    for caller, other in (CALLERS, CALLERS[::-1]):
        until(lambda caller=caller: status_of(service, caller, ids[caller]) == "EXECUTED")  # type: ignore[misc]
        detail = f"{BASE}/operation/sign/detail/{ids[caller]}/contentInResponse/false"
        _, result = ask(service, caller, "GET", detail)
        assert [document["signStatus"] for document in result["documentList"]] == ["SIGNED"] * DOCUMENTS
        assert ask(service, caller, "GET", f"{BASE}/operation/status/{ids[other]}")[0] == 404


def the_one(service: RunningService, caller: str, reference: str) -> int:
    """The id of the only operation of the caller with this reference."""
    path = f"{BASE}/async/operation/status/withExternalReference/{reference}"
    (operation,) = ask(service, caller, "GET", path)[1]
    return int(operation["id"])


def status_of(service: RunningService, caller: str, operation: int) -> str:
    return str(ask(service, caller, "GET", f"{BASE}/operation/status/{operation}")[1]["status"])


@needs_pgbouncer
async def test_the_service_through_a_pooler_with_one_connection(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "client-services-config.json").write_text(json.dumps({caller: {"secret": "secret"} for caller in CALLERS}))
    (tmp_path / "pooler").mkdir()
    async with pgbouncer(postgres, tmp_path / "pooler") as through:
        (tmp_path / "url").write_text(f"{through(database_url)}\n")
        (tmp_path / "owner").write_text(through(owner_of(database_url)))
        line = (
            *(f"--database-url-file={tmp_path / 'url'}", f"--database-owner-url-file={tmp_path / 'owner'}"),
            *("--database-pooler=transaction", "--sandbox", "--workers=2"),
        )

        def run() -> None:
            with RunningService(*FAST, *line, folder=tmp_path) as service:
                sign_for_both(service)
                listed = command(tmp_path, "instances", "list", *line[:1], line[2])
                assert f"127.0.0.1:{service.port}" in listed
            assert f"the database of {tmp_path / 'url'} answers" in check(tmp_path, *line)
            untold = [flag for flag in line if "pooler" not in flag]
            with pytest.raises(SystemExit, match="set --database-pooler=transaction"):
                RunningService(*FAST, *untold, folder=tmp_path).__enter__()

        await asyncio.to_thread(run)
    owner = await asyncpg.connect(owner_of(database_url), server_settings=ALL_ROWS)
    assert await owner.fetchval("SELECT count(*) FROM credential_lanes"), "a database that others can use has lanes"
    await owner.close()


def command(folder: Path, *arguments: str) -> str:
    """What a command prints for the temp folder of a `RunningService`."""
    line = (sys.executable, "-m", "batchseal.cli", *arguments, "--temp-folder", str(folder / "temp"))
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120).stdout


def check(folder: Path, *flags: str) -> str:
    return command(folder, "check", f"--work-folder={folder / 'work'}", f"--port={free_port()}", *flags)


@needs_postgres
def test_the_embedded_database_of_an_older_version_is_upgraded_by_the_next_start(tmp_path: Path) -> None:
    contents = documents(DOCUMENTS)
    with RunningService(*FAST, f"--postgres-bin={OTHER_POSTGRES}", folder=tmp_path) as service:
        assert post(service, batch("before", contents))[0] == 200
        operation = finished(service, "before").operation_id
    assert "made by PostgreSQL 15" in check(tmp_path)  # and it has changed nothing
    with RunningService(*FAST, folder=tmp_path) as service:
        assert finished(service, "before").operation_id == operation
        client = client_of(service)
        sizes = [document.signed_bytes for document in client.results(operation)]
        for ordinal, size in enumerate(sizes):
            client.fetch_document(operation, ordinal, signed := BytesIO())  # its signature lies in the database
            assert len(signed.getvalue()) == size
        client.close()
        assert post(service, batch("before", contents))[0] == 409
        assert post(service, batch("after", contents))[0] == 200
        assert finished(service, "after").status == "EXECUTED"
