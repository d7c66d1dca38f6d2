"""`batchseal operations`: tables for people, JSON for programs, CSV for spreadsheets; questions before much is changed."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.operators import ended, registered

from batchseal.cli import main
from batchseal.commands.operating.output import table
from batchseal.store import Store
from batchseal.store.backups import HeldOperations

HOSTILE = '=cmd|" /c calc"!A1\x1b[2J'


@pytest.fixture
def run(database_url: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command, and returns its exit code and what it said."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["operations", *arguments, f"--database-url={database_url}"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def ids(database_url: str) -> list[int]:
    """One that was signed, two that failed, one that waits."""

    async def make() -> list[int]:
        me = uuid4()
        store = await Store.connect(database_url, instance=me)
        rows = [await registered(store, me, 3, reference=f"ref {n}") for n in range(3)]
        rows.append(await registered(store, me, 2, reference=HOSTILE, client_service="B"))
        await ended(store, rows[0])
        for row in rows[1:3]:
            await ended(store, row, failed=[0])
        await store.mark_fetched("A", [rows[2].id])
        await store.close()
        return [row.id for row in rows]

    return asyncio.run(make())


def test_list_and_show(ids: list[int], run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("list")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 5 and lines[0].startswith("ID")
    assert [line.split()[0] for line in lines[1:]] == [str(one) for one in reversed(ids)]
    assert "\x1b" not in out, "what a caller sent reaches the terminal"
    code, out, _ = run("list", "--status=failed", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["id"] for one in found] == [ids[2], ids[1]]
    assert (found[0]["status"], found[0]["mode"], found[0]["documents_failed"]) == ("EXECUTION_FAILED", "ASYNC", 1)
    assert len(run("list", "--limit=2")[1].splitlines()) == 3
    assert len(run("list", "--reference=ref", "--client-service=A")[1].splitlines()) == 4
    code, out, _ = run("show", str(ids[1]), "--documents")
    assert code == 0
    for text in ("EXECUTION_FAILED", "2 signed, 1 failed, of 3", "REGISTERED", "the signing service is away", "doc 2"):
        assert text in out
    code, out, _ = run("show", str(ids[1]), "--documents", "--json")
    detail, *documents = (json.loads(line) for line in out.splitlines())
    assert (detail["line"]["id"], [one["status"] for one in documents]) == (
        ids[1],
        ["ERROR_SIGNING", "SIGNED", "SIGNED"],
    )
    assert run("show", str(ids[3] + 9))[0] == 1
    assert len(run("list", "--mode=hot_folder")[1].splitlines()) == 1


def test_only_what_stands_before_other_columns_is_cut() -> None:
    long = "a long cause, " * 20
    head, row = table(("NAME", "CAUSE"), [(long, long)]).splitlines()
    assert head.split() == ["NAME", "CAUSE"] and "…" in row and row.endswith(long.rstrip())


def test_retry_cancel_and_purge(ids: list[int], run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("retry", "--status=failed")
    assert (code, out) == (1, "") and "2 operations with 6 documents; --yes is needed" in err
    code, out, _ = run("retry", "--status=failed", "--yes")
    assert code == 1
    assert f"Operation {ids[1]}: 1 documents are signed again." in out
    assert f"Operation {ids[2]}: its result was fetched" in out and "--also-fetched" in out
    code, out, _ = run("retry", str(ids[2]), "--also-fetched", "--json")
    assert (code, json.loads(out)) == (0, {"operation_id": ids[2], "result": "done", "documents": 1})
    code, out, _ = run("cancel", str(ids[3]), str(ids[0]))
    assert code == 1
    assert f"Operation {ids[3]}: 2 documents are cancelled." in out and f"Operation {ids[0]}: it is finished." in out
    code, out, _ = run("purge", "--status=executed", "--yes")
    assert code == 0 and f"Operation {ids[0]}: its documents are deleted." in out
    code, out, _ = run("show", str(ids[2]))
    assert "RETRIED" in out and "command line on" in out
    assert run("cancel", "--client-service=nobody", "--yes")[0] == 1


def test_export_is_safe_in_a_spreadsheet(
    ids: list[int], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "operations.csv"
    assert run("export", f"--out={path}") == (0, "", f"{len(ids)} operations written to {path}\n")
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    assert [row["id"] for row in rows] == [str(one) for one in reversed(ids)]
    assert rows[0]["external_reference"] == f"'{HOSTILE}"
    assert rows[1]["status"] == "EXECUTION_FAILED"
    assert run("export", "--reference=nothing", f"--out={path}")[0] == 0
    assert path.read_text("utf-8").startswith("id,client_service,")
    assert run("export", "--json", f"--out={path}")[0] == 0
    assert [json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()] == list(reversed(ids))


def test_the_trail_names_the_account_and_not_what_the_environment_says(
    ids: list[int], run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody else")
    assert run("cancel", str(ids[3]))[0] == 0
    out = run("show", str(ids[3]))[1]
    assert "command line on" in out and "somebody else" not in out


def test_what_is_held_is_chosen_by_the_other_flags_too(
    ids: list[int], database_url: str, run: Callable[..., tuple[int, str, str]]
) -> None:
    """Else a cancel that is meant for one client service would end what is held of all."""

    async def hold() -> int:
        me = uuid4()
        store = await Store.connect(database_url, instance=me)
        row = await registered(store, me, 2, reference="held", client_service="A")
        await HeldOperations(store).hold()
        await store.close()
        return row.id

    own = asyncio.run(hold())
    code, out, _ = run("list", "--held", "--client-service=A")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == [str(own), "1"]
    code, _, err = run("cancel", "--held", "--client-service=A")
    assert code == 1 and "1 operations with 2 documents; --yes is needed" in err
    code, out, _ = run("cancel", "--held", "--client-service=A", "--yes")
    assert code == 0 and f"Operation {own}: 2 documents are cancelled." in out
    code, out, _ = run("list", "--held", "--json")
    assert code == 0 and [json.loads(line)["id"] for line in out.splitlines()] == [ids[3]]
    assert run("resume", "--held", "--client-service=A")[1] == "0 operations will be signed.\n"
    assert run("resume", "--held") == (0, "1 operations will be signed.\n", "")


def test_an_export_goes_on_behind_what_is_in_a_file(ids: list[int], database_url: str, tmp_path: Path) -> None:
    """As with `>>`: an export to standard output must not empty the file that the shell has opened."""
    path = tmp_path / "operations.csv"
    path.write_text("from before\n")
    command = [sys.executable, "-m", "batchseal.cli", "operations", "export", f"--database-url={database_url}"]
    with path.open("ab") as file:
        subprocess.run(command, stdout=file, check=True)
    first, head, *rows = path.read_text("utf-8").splitlines()
    assert first == "from before" and head.startswith("id,client_service,") and len(rows) == len(ids)


def test_an_export_that_cannot_be_written_is_told_without_a_trace(
    ids: list[int], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, _, err = run("export", f"--out={tmp_path}/missing/operations.csv")
    assert code == 2 and err.startswith("batchseal: --out: ") and "No such file" in err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["retry"], ["cancel", "1", "--status=failed"], ["show"], ["show", "1", "2"], ["list", "1"], ["nothing"]),
        *(["list", "--since=yesterday"], ["list", "--older=5"], ["list", "--status=lost"], ["purge", "x"]),
        *(["retry", "--held"], ["resume"], ["resume", "1", "--held"], ["resume", "1", "--client-service=A"]),
        ["list", "--limit=0"],
    ],
)
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended_with:
        main(["operations", *arguments])
    assert ended_with.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", ["operations", "credential"])
def test_help_is_complete(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    wanted = {
        "operations": ("retry", "--also-fetched", "--older", "--yes", "--database-url", "Exit code", "audit trail"),
        "credential": ("renew SERVICE", "--service-domain", "--json", "Exit code", "one-time password"),
    }
    for word in wanted[command]:
        assert word in text
