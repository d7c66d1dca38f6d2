"""`batchseal erase` where the documents lie in another store than the command names."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
from tests.support.operators import ended, registered

from batchseal.commands.erase import erase
from batchseal.settings.load import load_settings
from batchseal.store import Store


async def test_documents_stay_until_their_store_is_named(
    connect_store: Callable[..., Awaitable[Store]],
    sees_all_rows: asyncpg.Connection,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else the row would say that they are gone, and they would lie there for days."""
    me = uuid4()
    store = await connect_store(me)
    row = await registered(store, me, 1, reference="one")
    await ended(store, row)
    await sees_all_rows.execute("UPDATE operations SET payload_store = 's3' WHERE id = $1", row.id)
    settings = load_settings({"database_url": database_url}, {})
    assert await erase(settings, "one", None, with_payloads=True) == 1
    assert "a payload store of the kind s3" in capsys.readouterr().err
    stored = await store.operation("A", row.id)
    assert stored is not None and not stored.payload_purged
