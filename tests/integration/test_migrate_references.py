"""`batchseal migrate references`: what the original sealed is taken here, and a retry seals nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from tests.support.operators import operators
from tests.support.webhooks import register

from batchseal.commands import migrate
from batchseal.errors import ConfigurationError, ReferenceTaken
from batchseal.operation import OperationStatus
from batchseal.store import Store
from batchseal.store.operator import OperationFilter
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]
ME = UUID(int=7)
PENDING = OperationStatus.PENDING_EXECUTION


class Command:
    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        (folder / "client-services-config.json").write_text(json.dumps({n: {"secret": "s" * 20} for n in ("A", "B")}))
        self.flags = [f"--database-url={database_url}", f"--work-folder={folder}", "--server.host.port=proxy:8081"]

    async def __call__(self, content: str | bytes, *more: str) -> int:
        file = self.folder / "references.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return await asyncio.to_thread(migrate.run, ["references", str(file), *self.flags, *more])


@pytest.fixture
def command(tmp_path: Path, database_url: str) -> Command:
    return Command(tmp_path, database_url)


async def test_a_reference_of_the_original_is_taken_for_its_client_service(
    connect_store: Connect, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    store = await connect_store(ME)
    assert await command("A,FT 2021/5,2026-11-01T10:00:00Z\nA,FT 2021/6\n") == 0
    assert "2 references: 2 marked as taken" in capsys.readouterr().out
    with pytest.raises(ReferenceTaken) as taken:
        await register(store, ME, "A", "FT 2021/5")
    (row,) = await store.operations_with_reference("A", "FT 2021/5")
    assert taken.value.operation_id == row.id
    assert (row.status, row.payload_purged, row.documents_total) == (OperationStatus.EXECUTED, True, 0)
    assert row.finished_at == datetime(2026, 11, 1, 10, tzinfo=UTC) and (row.host, row.port) == ("proxy", 8081)
    await register(store, ME, "B", "FT 2021/5")
    await register(store, ME, "A", "FT 2021/7")


async def test_it_can_be_repeated(connect_store: Connect, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    store = await connect_store(ME)
    await register(store, ME, "A", "was here")
    for dry_run, said in (
        (True, "3 references: 1 are taken already"),
        (False, "3 references: 2 marked as taken"),
        (False, "3 references: 0 marked as taken"),
    ):
        assert await command("A,was here\nA,one\nB,one\n", *(["--dry-run"] if dry_run else [])) == 0
        assert said in capsys.readouterr().out
    (own,) = await store.operations_with_reference("A", "was here")
    assert own.status is OperationStatus.PENDING_EXECUTION


@pytest.mark.parametrize(
    ("content", "flags"),
    [
        ("externalReference;clientService;date\nFT 2021/5;A;2026-11-01\n", ()),
        ("\ufeffClient Service\tExternal Reference\r\nA\tFT 2021/5\r\n", ()),
        ("FT 2021/5\n\n", ("--client-service=A",)),
        ('reference\n"FT 2021/5"\n', ("--client-service=A",)),
        ("FT 2021/5,2026-11-01T10:00:00+01:00\n", ("--client-service=A",)),
    ],
)
async def test_forms_of_the_file(
    connect_store: Connect, command: Command, content: str, flags: tuple[str, ...]
) -> None:
    store = await connect_store(ME)
    assert await command(content, *flags) == 0
    assert await store.reference_holder("A", "FT 2021/5") is not None


async def test_a_wrong_line_is_named_and_the_others_are_marked(
    connect_store: Connect, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    store = await connect_store(ME)
    long = "x" * 3000
    assert await command(f"A,one\nC,two\nA,\nA,three,yesterday\nA,{long}\nA,four\n") == 1
    said = capsys.readouterr().err
    for text in (
        "line 2: there is no client service 'C'",
        "line 3: it has no",
        "line 4: 'yesterday'",
        "line 5: the reference is",
    ):
        assert text in said
    assert await store.reference_holder("A", "four") is not None and await store.reference_holder("A", "three") is None


async def test_a_file_that_is_no_csv(command: Command) -> None:
    with pytest.raises(ConfigurationError, match="not a CSV file in UTF-8"):
        await command(b"A,\xff\xfe\n")


async def test_many_references(connect_store: Connect, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    store = await connect_store(ME)
    assert await command("".join(f"A,FT {number}\n" for number in range(3_500))) == 0
    assert "3500 references: 3500 marked" in capsys.readouterr().out
    assert await store.reference_holder("A", "FT 3499") is not None


async def test_what_was_registered_before_is_still_found_by_its_time(
    connect_store: Connect, command: Command, database_url: str, sees_all_rows: asyncpg.Connection
) -> None:
    """Lists find a time by halving the ids. What was sealed years ago has new ids all the same."""
    store = await connect_store(ME)
    before = await register(store, ME, "A", "was here")
    await sees_all_rows.execute("UPDATE operations SET created_at = now() - interval '2 days' WHERE id = $1", before.id)
    assert await command("".join(f"A,FT {number},2020-01-01\n" for number in range(100))) == 0
    after = await register(store, ME, "A", "came later")
    wanted = OperationFilter(since=datetime.now(UTC) - timedelta(days=3), statuses=frozenset({PENDING}))
    async with operators(database_url) as operator:
        assert [line.id for line in (await operator.operations(wanted)).rows] == [after.id, before.id]
        (taken,) = (await operator.operations(OperationFilter(reference="FT 99"))).rows
        assert taken.seconds == 0.0


async def test_nothing_of_it_is_work_for_anybody(connect_store: Connect, command: Command) -> None:
    store = await connect_store(ME)
    await command("A,one,2010-01-01\nA,two\n")
    assert await store.claim(10, 60) == []
    upkeep = Upkeep(store.database, ME)
    assert (await upkeep.statistics()).unfinished == 0
    assert await upkeep.purgeable(0, 0) == {} and await upkeep.unfinished_documents() == {}
    # A reference is free again when --reference-days are over, as one that was sealed here.
    assert (await upkeep.free_references(3650 * 86_400))[0] == 1
    await register(store, ME, "A", "one")
