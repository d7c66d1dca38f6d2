"""The budget of a time stamp authority, and the share of a client service in the queue, count what all instances do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import asyncpg
import pytest

from batchseal.errors import DatabaseUnavailable
from batchseal.operation import ContentType, Mode
from batchseal.sandbox.authority import Authority
from batchseal.settings.load import Settings
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.time_stamp_budgets import TimeStampBudgets
from batchseal.store.upkeep import Upkeep
from batchseal.upstream.timestamps import Timestamps

Connect = Callable[..., Awaitable[Store]]
TSA = "https://tsa.example/"


async def test_instances_share_a_budget(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    budgets = [TimeStampBudgets((await connect_store()).database, lambda: 2) for _ in range(3)]
    waits = await asyncio.gather(*(budgets[n % 3].take(TSA, 20, 1200, []) for n in range(40)))
    assert waits.count(0.0) == 20
    assert all(1100 < wait <= 1200 for wait in waits if wait)
    assert await budgets[0].take("https://other.example/", 1, 1200, []) == 0
    # A request makes room when it is older than the time of the budget, and not before.
    await sees_all_rows.execute(
        "UPDATE time_stamp_requests SET sent_at = ARRAY(SELECT s - interval '900 s' FROM unnest(sent_at) s)"
    )
    assert 200 < await budgets[1].take(TSA, 20, 1200, []) <= 300
    await sees_all_rows.execute("UPDATE time_stamp_requests SET sent_at[1] = now() - interval '1201 s'")
    assert await budgets[2].take(TSA, 20, 1200, []) == 0
    assert await budgets[2].take(TSA, 20, 1200, []) > 0


async def test_what_was_sent_alone_counts_once_others_come(connect_store: Connect) -> None:
    one, other = [TimeStampBudgets((await connect_store()).database, lambda: 1) for _ in range(2)]
    assert await one.take(TSA, 5, 1200, [1.0, 2.0, 900.0, 1201.0]) == 0
    assert await other.take(TSA, 5, 1200, []) == 0
    assert 200 < await one.take(TSA, 5, 1200, []) <= 300


class Counted:
    """A common count that a test steers: `left` requests of others are left, None: it is away."""

    def __init__(self) -> None:
        self.others = False
        self.left: int | None = 0
        self.told: list[int] = []

    def is_needed(self) -> bool:
        return self.others

    async def take(self, authority: str, requests: int, seconds: float, ages: Sequence[float]) -> float:
        if self.left is None:
            raise DatabaseUnavailable("away")
        self.told.append(len(ages))
        if not self.left:
            return 500.0
        self.left -= 1
        return 0.0


@pytest.fixture
def roots(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tsa")
    Authority(folder, "p256").timestamper()
    return str(folder / "root.pem")


async def test_an_authority_asks_for_the_common_count_while_others_are_there(roots: str) -> None:
    counted = Counted()
    stamps = Timestamps(Settings(timestamp_urls=f"{TSA};3/60", timestamp_roots=roots), shared=counted)
    (authority,) = stamps.authorities
    assert await authority.may_be_asked()
    assert counted.told == []
    counted.others, counted.left = True, 1
    assert await authority.may_be_asked()
    assert counted.told == [1]
    # The others have spent it, and what this process has sent is told once.
    assert not await authority.may_be_asked()
    assert counted.told == [1, 0]
    assert 400 < authority.wait_seconds() <= 500
    await stamps.close()


async def test_a_count_that_cannot_be_read_allows_nothing(roots: str) -> None:
    counted = Counted()
    counted.others, counted.left = True, None
    stamps = Timestamps(Settings(timestamp_urls=f"{TSA};3/60", timestamp_roots=roots), shared=counted)
    (authority,) = stamps.authorities
    assert not await authority.may_be_asked()
    assert 0 < authority.wait_seconds() <= 2
    await stamps.close()


async def test_the_share_of_a_client_service_counts_its_documents_at_all_instances(connect_store: Connect) -> None:
    one, other = uuid4(), uuid4()
    store = await connect_store(one)
    for instance, client, count in ((one, "A", 2), (other, "A", 3), (other, "B", 1)):
        new = NewOperation(uuid4(), client, str(uuid4()), "", Mode.ASYNC, instance, "h", 1)
        await store.register(new, [NewDocument(n, f"d{n}", "d.pdf", ContentType.PDF, 9) for n in range(count)])
    assert await Upkeep(store.database, one).unfinished_documents_of_all() == ({"A": 5, "B": 1}, 2)
    assert await Upkeep(store.database, one).unfinished_documents() == {"A": 2}
