"""Notes of results that were fetched whole: together, and none left behind at the end."""

from collections.abc import Collection
from typing import Any

import pytest
from harness.waiting import eventually

from batchseal.errors import DatabaseUnavailable
from batchseal.worker.fetched import FetchedNotes


class Notebook:
    """In place of a Store."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[int]]] = []
        self.away = False
        self.missed = 0

    async def mark_fetched(self, client_service: str, operation_ids: Collection[int]) -> None:
        if self.away:
            self.missed += 1
            raise DatabaseUnavailable("away")
        self.written.append((client_service, sorted(operation_ids)))


@pytest.fixture
def notebook() -> Any:
    return Notebook()


def notes_in(notebook: Any) -> FetchedNotes:
    return FetchedNotes(notebook, gather_seconds=0.02)


async def test_those_of_a_moment_are_written_together(notebook: Any) -> None:
    notes = notes_in(notebook)
    for number in (1, 2, 2, 3):
        notes.note("A", number)
    notes.note("B", 4)
    await eventually(lambda: len(notebook.written) == 2)
    assert sorted(notebook.written) == [("A", [1, 2, 3]), ("B", [4])]
    notes.note("A", 5)
    await eventually(lambda: len(notebook.written) == 3)
    assert notebook.written[-1] == ("A", [5])


async def test_closing_writes_what_waits(notebook: Any) -> None:
    notes = notes_in(notebook)
    notes.note("A", 1)
    await notes.close()
    assert notebook.written == [("A", [1])]
    await notes.close()
    assert len(notebook.written) == 1


async def test_without_a_database_they_are_missed_and_later_ones_are_not(notebook: Any) -> None:
    notes = notes_in(notebook)
    notebook.away = True
    notes.note("A", 1)
    await eventually(lambda: notebook.missed)
    notebook.away = False
    notes.note("A", 2)
    await eventually(lambda: notebook.written)
    assert notebook.written == [("A", [2])]
