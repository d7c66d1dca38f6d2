"""A folder whose mount hangs while a batch is under way keeps nothing that other folders need."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.hot_folders import Folders, below, left_over, put
from harness.waiting import eventually, until
from tests.support.hot_folders import SigningDouble
from tests.unit.test_hot_folder_crashes import claim, context_of

from batchseal.entries.answers import Answers
from batchseal.entries.batch import BatchRun
from batchseal.entries.claims import Batch
from batchseal.entries.publishing import DraftFile
from batchseal.system.backoff import Backoff


class Hanging:
    """Calls of a function hang until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.back = threading.Event()

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def hangs(*arguments: Any) -> Any:
            self.begun.set()
            self.back.wait(60)
            return work(*arguments)

        return hangs


class Reserving(SigningDouble):
    """Counts what is reserved."""

    reserved = 0

    async def take_in(self, *arguments: Any, **more: Any) -> Any:
        self.reserved += 1
        try:
            return await super().take_in(*arguments, **more)
        finally:
            self.reserved -= 1

    async def admit_delivery(self, *_: Any) -> Any:
        self.reserved += 1

        def release() -> None:
            self.reserved -= 1

        return release


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    one = Hanging()
    yield one
    one.back.set()


@pytest.mark.parametrize("call", [(Batch, "read"), (DraftFile, "write")])
def test_what_is_reserved_is_given_back_while_a_folder_hangs(
    call: tuple[type, str], hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, service = Folders.make(tmp_path), Reserving()
    put(folders, "a.bin", b"one")
    put(folders, "b.bin", b"two")
    batch = claim(folders)
    monkeypatch.setattr(*call, hanging.around(getattr(*call)))

    async def run() -> None:
        context = replace(context_of(folders, service), answer_seconds=0.05, again=Backoff(0.02, 0.05))
        working = asyncio.create_task(BatchRun(context, batch.id).run())
        await eventually(hanging.begun.is_set)
        await eventually(lambda: service.reserved == 0)
        assert not working.done(), "what uses the folder is waited for"
        hanging.back.set()
        assert await working
        context.threads.close()

    asyncio.run(run())
    assert below(folders.output) == {"a.bin.p7m": b"one signed", "b.bin.p7m": b"two signed"}
    assert (service.reserved, left_over(folders)) == (0, [])
    assert len(service.operations) == 1


def test_one_that_does_not_answer_is_asked_once_and_counts_when_it_does(hanging: Hanging) -> None:
    answers, asked = Answers[str](0.05), list[str]()

    def ask(name: str) -> str:
        asked.append(name)
        return name

    works = {"hangs": ("a", hanging.around(lambda: ask("hangs"))), "works": ("b", lambda: ask("works"))}
    for _ in range(2):  # on a busy machine it takes more than one question
        until(lambda: answers.ask(works) == {"works": "works"})
    hanging.back.set()
    found = dict[str, str]()
    while "hangs" not in found:
        found = answers.ask(works)
    assert asked.count("hangs") == 1
