"""A day's partition of signatures is there when it is needed, whatever becomes of the transaction that needed it first."""

import asyncio
from uuid import uuid4

import pytest
from tests.support.parts import Connect

from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import NoSpace
from batchseal.operation import ContentType, Mode
from batchseal.store import NewDocument, NewOperation
from batchseal.store.rows import SignatureRow


async def test_a_partition_outlives_the_transaction_that_was_rolled_back(connect_store: Connect) -> None:
    me = uuid4()
    store = await connect_store(me)
    new = NewOperation(uuid4(), "A", "first of the day", "", Mode.SYNC, me, "h", 1)
    row = await store.register(new, [NewDocument(0, "d", "d.pdf", ContentType.PDF, 9)])
    claimed = await store.claim_one(row.id, 30)
    assert claimed is not None
    end = row.id, row.created_at, claimed.fence, [DocumentOutcome(0, 5)], [SignatureRow(0, Evidence(b"signature"))]
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(NoSpace("the disk is full"))
    with pytest.raises(NoSpace):
        await store.finish(*end, commit_after=failed)
    assert await store.evidence(row.id, row.created_at, 0, 0) == {}
    ended = await store.finish(*end)
    assert ended is not None
    assert (await store.evidence(row.id, row.created_at, 0, 0))[0].evidence == Evidence(b"signature")
