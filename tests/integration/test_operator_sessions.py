"""How long a session of the operator's page lasts."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from batchseal.store import Store
from batchseal.store.operator_accounts import OperatorAccounts

Connect = Callable[..., Awaitable[Store]]
# So long that the time which a test takes itself counts for nothing.
DIGEST, IDLE_MINUTES = b"d" * 32, 100


class House:
    """A database with one session."""

    def __init__(self, store: Store) -> None:
        self.store, self.accounts = store, OperatorAccounts(store.database)

    async def later(self, minutes: int) -> None:
        """Has time go by since the session was used."""
        async with self.store.database.connection() as connection:
            await connection.execute(
                "UPDATE operator_sessions SET seen_at = seen_at - $1::integer * interval '1 minute'", minutes
            )

    async def lives(self, *, is_use: bool = True) -> bool:
        return await self.accounts.session(DIGEST, IDLE_MINUTES, is_use=is_use) is not None


@pytest.fixture
async def house(connect_store: Connect) -> House:
    house = House(await connect_store(uuid4()))
    await house.accounts.begin_session(DIGEST, "ana", "viewer", "oidc", "192.0.2.7", 12)
    return house


async def test_a_session_ends_after_the_minutes_without_use_and_not_before(house: House) -> None:
    for _ in range(3):
        await house.later(70)
        assert await house.lives(), "it was used 70 minutes ago"
    await house.later(101)
    assert not await house.lives()


async def test_a_page_that_asks_by_itself_keeps_no_session_alive(house: House) -> None:
    await house.later(70)
    assert await house.lives(is_use=False)
    await house.later(31)
    assert not await house.lives()
