"""`batchseal erase` where the documents lie in another store than the command names."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.operators import chained, ended, registered

from batchseal.commands.erase import erase
from batchseal.payloads import stores
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.operation import record_bytes
from batchseal.settings.load import load_settings
from batchseal.store import Store
from batchseal.store.trail import AuditTrail


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


class Place:
    """A shared payload store that notes what is removed from it."""

    def __init__(self) -> None:
        self.removed: set[UUID] = set()

    def remove(self, ids: set[UUID]) -> None:
        self.removed |= ids


async def test_all_payloads_of_an_operation_leave_a_shared_store(
    connect_store: Callable[..., Awaitable[Store]],
    sees_all_rows: asyncpg.Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plans of its documents, which hold texts of the request, are in further payloads."""
    me, further, place = uuid4(), uuid4(), Place()
    store = await connect_store(me)
    row = await registered(store, me, 1, reference="one")
    await ended(store, row)
    await chained(AuditTrail(store.database, me))
    await sees_all_rows.execute(
        "UPDATE operations SET payload_store = 's3', payload_record = $2, further_payloads = $3 WHERE id = $1",
        *(row.id, record_bytes(PayloadRecord(id=row.payload_id)), [record_bytes(PayloadRecord(id=further))]),
    )
    monkeypatch.setattr(stores, "place_of", lambda settings: place)
    settings = load_settings({"database_url": database_url, "payload_store": "s3://bucket/prefix"}, {})
    assert await erase(settings, "one", None, with_payloads=True) == 0
    assert place.removed == {row.payload_id, further}
