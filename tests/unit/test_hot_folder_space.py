"""More files than there is temporary space for: they are signed in smaller batches, or have a reason; none waits for ever."""

from pathlib import Path
from typing import Any

import pytest
from harness.hot_folders import Folders, below, left_over, put
from harness.waiting import eventually
from tests.support.hot_folders import SigningDouble
from tests.unit.test_hot_folder_running import running

from batchseal.admission.admission import Admission
from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import Budgets

NAMES = [f"{number}.bin" for number in range(10)]


class Admitting(SigningDouble):
    """Has temporary space as the service has. What an operation has stored goes with its end."""

    def __init__(self, admission: Admission) -> None:
        super().__init__()
        self.admission = admission
        self.asked: list[int] = []
        self.largest_document_bytes = self.largest_batch_bytes = admission.most_documents_bytes

    async def take_in(self, *arguments: Any, documents_bytes: int) -> Any:
        self.asked.append(documents_bytes)
        ticket = await self.admission.admit(documents_bytes)
        try:
            return await super().take_in(*arguments, documents_bytes=documents_bytes)
        finally:
            ticket.release()


@pytest.mark.parametrize(("temp_bytes", "free_bytes", "most"), [(2000, 1 << 40, 1500), (1 << 30, 1200, 5000)])
async def test_files_that_do_not_fit_together_are_signed_in_smaller_batches(
    tmp_path: Path, temp_bytes: int, free_bytes: int, most: int
) -> None:
    """By the budget no batch is made too large. What the volume takes is known only when it is asked."""
    folders = Folders.make(tmp_path)
    budgets = Budgets(temp_bytes, 1 << 30, 1000)
    service = Admitting(Admission(Ledger(tmp_path / "ledger"), budgets, lambda: free_bytes))
    for name in NAMES:
        put(folders, name, name.encode() * 100)
    async with running(folders, service) as folder:
        await eventually(lambda: len(below(folders.output)) == len(NAMES))
        await eventually(lambda: left_over(folders) == [] and not folder.context.counts.stalled)
    assert below(folders.output) == {f"{name}.p7m": name.encode() * 100 + b" signed" for name in NAMES}
    assert sorted(service.signed_contents()) == [name.encode() * 100 for name in NAMES]
    assert max(service.asked) == most


async def test_a_file_for_which_there_never_is_space_has_a_reason(tmp_path: Path) -> None:
    folders = Folders.make(tmp_path)
    service = Admitting(Admission(Ledger(tmp_path / "ledger"), Budgets(2000, 1 << 30, 1000), lambda: 1 << 40))
    put(folders, "small.bin", b"small")
    put(folders, "large.bin", b"x" * 1819)
    async with running(folders, service):
        await eventually(lambda: len(below(folders.output)) == 2)
        await eventually(lambda: left_over(folders) == [])
    assert b"the file has 1819 bytes, the limit is 1818" in below(folders.output)["large.bin.txt"]
    assert below(folders.input) == {}
