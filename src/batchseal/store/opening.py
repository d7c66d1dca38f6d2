"""Opens the database in the way that its address asks for."""

from collections.abc import Mapping
from uuid import UUID

from batchseal.store.address import Address, AnyAddress
from batchseal.store.database import Database

__all__ = ["AnyAddress", "open_database"]


async def open_database(
    address: AnyAddress,
    pool_size: int,
    *,
    everything: bool,
    instance: UUID | None = None,
    further_settings: Mapping[str, str] | None = None,
) -> Database:
    """Connects once, to see that it is possible. See `Database.open`."""
    if isinstance(address, str):
        address = Address(address)
    if not address.pooler:
        return await Database.open(
            address, pool_size, everything=everything, instance=instance, further_settings=further_settings
        )
    from batchseal.store.pooled import PooledDatabase  # few have a pooler

    return await PooledDatabase.open(
        address, pool_size, everything=everything, instance=instance, further_settings=further_settings
    )
