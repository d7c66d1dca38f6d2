"""A backup and the database: nothing is purged while it is made, and its own failures are not taken for those of the database."""

import errno
import io
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from batchseal.commands.backups import taking
from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings
from batchseal.store import Store
from batchseal.store.backups import without_purging
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]


async def test_a_full_disk_is_not_taken_for_the_database(
    connect_store: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dump(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(taking, "dump", dump)
    store = await connect_store()
    with pytest.raises(ConfigurationError, match=f"{tmp_path}: No space left on device; there is no backup"):
        await taking.take_database(Settings(), store, Path("pg_dump"), "postgresql://", tmp_path, io.BytesIO())


async def test_every_instance_sees_that_a_backup_is_made(connect_store: Connect) -> None:
    store, other = await connect_store(), await connect_store()
    upkeep = Upkeep(other.database, uuid4())
    assert not await upkeep.is_being_backed_up()
    async with without_purging(store.database):
        assert await upkeep.is_being_backed_up()
    assert not await upkeep.is_being_backed_up()
