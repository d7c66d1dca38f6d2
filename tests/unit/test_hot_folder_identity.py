"""An input folder whose identity is replaced while it is worked on is leased under the new one. A removed one comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from harness.hot_folders import CLIENT, Folders, below, left_over, put
from harness.waiting import eventually
from tests.support.hot_folders import SigningDouble
from tests.unit.test_hot_folder_crashes import claim, context_of

from batchseal.entries.batch import BatchRun
from batchseal.entries.folder_place import FolderPlace
from batchseal.entries.leases import FolderLeases, duty
from batchseal.entries.publishing import Folder
from batchseal.entries.watcher import Watcher
from batchseal.intake.schema import Limits
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import load_settings
from batchseal.signature import NO_DEFAULTS


class Turns:
    """Gives every lease, and knows which were asked for last."""

    def __init__(self) -> None:
        self.asked = set[str]()

    async def take_duties(self, names: Collection[str]) -> set[str]:
        self.asked = set(names)
        return self.asked


class Signing(SigningDouble):
    def tell_numbers(self, of: str, numbers: dict[str, float]) -> None:
        pass


def watcher_of(folders: Folders, service: SigningDouble, turns: Turns, work: Path) -> Watcher:
    work.mkdir()
    path = work / "client-services-config.json"
    path.write_text(json.dumps({CLIENT: {"secret": "s" * 20, **folders.entry()}}))
    path.chmod(0o600)
    settings = replace(load_settings({}, {}), work_folder=work, temp_folder=work, hot_folder_enabled=True)
    settings = replace(settings, hot_folder_look=0.02, hot_folder_flush=1)
    services, leases = ClientServices.load(path), FolderLeases(turns)  # type: ignore[arg-type]
    return Watcher(settings, services, service, leases, Limits(), lambda name: NO_DEFAULTS)  # type: ignore[arg-type]


@asynccontextmanager
async def watching(watcher: Watcher) -> AsyncIterator[None]:
    working = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def signed(folders: Folders, name: str) -> None:
    put(folders, name, name.encode())
    await eventually(lambda: f"{name}.p7m" in below(folders.output))
    await eventually(lambda: left_over(folders) == [])


async def test_a_folder_whose_identity_was_replaced_is_leased_under_the_new_one(tmp_path: Path) -> None:
    folders, service, turns = Folders.make(tmp_path / "files"), Signing(), Turns()
    id, new = folders.input / ".batchseal" / "id", uuid4()
    watcher = watcher_of(folders, service, turns, tmp_path / "work")
    async with watching(watcher):
        await signed(folders, "first.bin")
        assert turns.asked == {duty(UUID(id.read_text().strip()))}
        put(folders, ".batchseal.new", f"{new}\n".encode()).rename(id)
        await eventually(lambda: turns.asked == {duty(new)})
        await signed(folders, "second.bin")
        assert watcher.numbers()["batchseal_hotfolder_files_signed_total"] == 2
    assert len(service.operations) == 2


async def test_a_folder_whose_identity_was_removed_keeps_it(tmp_path: Path) -> None:
    folders, service, turns = Folders.make(tmp_path / "files"), Signing(), Turns()
    id = folders.input / ".batchseal" / "id"
    async with watching(watcher_of(folders, service, turns, tmp_path / "work")):
        await signed(folders, "first.bin")
        before = id.read_text()
        id.unlink()
        await eventually(id.exists)
        await signed(folders, "second.bin")
    assert id.read_text() == before
    assert turns.asked == {duty(UUID(before.strip()))}


def test_a_batch_publishes_nothing_once_the_identity_was_replaced(tmp_path: Path) -> None:
    """Another instance may have the folder under its new identity by now."""
    folders = Folders.make(tmp_path)
    put(folders, "a.bin", b"a")

    class Replaced(SigningDouble):
        async def finished_operation(self, *arguments: Any, **more: Any) -> Any:
            (folders.input / ".batchseal" / "id").write_text(str(uuid4()))
            return await super().finished_operation(*arguments, **more)

    async def run() -> None:
        output, backup = Folder(folders.output, 0o664), Folder(folders.backup, 0o664)
        place = FolderPlace(str(folders.input), output, backup, identified_seconds=0.0)
        place.identity()
        context = replace(context_of(folders, Replaced()), place=place)
        assert await BatchRun(context, claim(folders).id).run()
        context.threads.close()

    asyncio.run(run())
    assert below(folders.output) == below(folders.backup) == {}
