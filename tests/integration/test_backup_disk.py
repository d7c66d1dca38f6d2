"""A backup that cannot be written says so, and does not say that the database went away."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from batchseal.commands.backups import taking
from batchseal.errors import ConfigurationError
from batchseal.store import Store

Connect = Callable[..., Awaitable[Store]]


async def test_a_full_disk_is_not_taken_for_the_database(
    connect_store: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dump(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(taking, "dump", dump)
    store = await connect_store()
    with pytest.raises(ConfigurationError, match=f"the backup in {tmp_path} is not complete: No space left on device"):
        await taking.take_database(store, Path("pg_dump"), "postgresql://", tmp_path)
