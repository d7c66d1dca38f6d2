"""Notes of results that were fetched whole: together, and none left behind at the end."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from batchseal.errors import DatabaseUnavailable
from batchseal.worker import fetched
from batchseal.worker.fetched import FetchedNotes


class Notebook:
    """In place of a Store."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[int]]] = []
        self.away = False

    async def mark_fetched(self, client_service: str, operation_ids: Collection[int]) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        self.written.append((client_service, sorted(operation_ids)))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(fetched, "GATHER_SECONDS", 0.02)
    return Notebook()


async def test_those_of_a_moment_are_written_together(notebook: Any) -> None:
    notes = FetchedNotes(notebook)
    for number in (1, 2, 2, 3):
        notes.note("A", number)
    notes.note("B", 4)
    await asyncio.sleep(0.1)
    assert sorted(notebook.written) == [("A", [1, 2, 3]), ("B", [4])]
    notes.note("A", 5)
    await asyncio.sleep(0.1)
    assert notebook.written[-1] == ("A", [5])


async def test_closing_writes_what_waits(notebook: Any) -> None:
    notes = FetchedNotes(notebook)
    notes.note("A", 1)
    await notes.close()
    assert notebook.written == [("A", [1])]
    await notes.close()
    assert len(notebook.written) == 1


async def test_without_a_database_they_are_missed_and_later_ones_are_not(notebook: Any) -> None:
    notes = FetchedNotes(notebook)
    notebook.away = True
    notes.note("A", 1)
    await asyncio.sleep(0.1)
    notebook.away = False
    notes.note("A", 2)
    await asyncio.sleep(0.1)
    assert notebook.written == [("A", [2])]
