"""Operations that are held after a restore: `batchseal operations list --held`, `resume` and `cancel`."""

from collections.abc import Sequence

from batchseal.commands.databases import open_store
from batchseal.commands.messages import complain
from batchseal.settings.load import Settings
from batchseal.store.backups import HeldOperations


async def show(settings: Settings) -> int:
    """Lists what is held. Returns the exit code."""
    found = 0
    async with open_store(settings) as store:
        async for row in HeldOperations(store).all():
            counts = f"{row.documents_signed} of {row.documents_total} signed, {row.documents_failed} failed"
            print(
                f"{row.id}  {row.created_at:%Y-%m-%d %H:%M:%S} UTC  {row.client_service}  {row.external_reference!r}  {counts}"
            )
            found += 1
    print(f"{found} operations are held.")
    return 0


async def resume(settings: Settings, ids: Sequence[int] | None) -> int:
    """Lets these be signed, or all that are held (None). Returns the exit code."""
    async with open_store(settings) as store:
        resumed = await HeldOperations(store).resume(ids)
    print(f"{len(resumed)} operations will be signed.")
    return complain_of(ids, resumed)


async def cancel(settings: Settings, ids: Sequence[int] | None) -> int:
    """Ends these, or all that are held (None). Returns the exit code."""
    cancelled = list[int]()
    async with open_store(settings) as store:
        held = HeldOperations(store)
        chosen = [row.id async for row in held.all()] if ids is None else list(ids)
        for operation_id in chosen:
            if await held.cancel(operation_id):
                cancelled.append(operation_id)
    print(f"{len(cancelled)} operations are cancelled.")
    return complain_of(ids, cancelled)


def complain_of(ids: Sequence[int] | None, done: Sequence[int]) -> int:
    """Names the operations of which nothing was done. Returns the exit code."""
    left = [str(one) for one in ids or () if one not in done]
    if left:
        complain(f"these are not held: {', '.join(left)}")
    return 1 if left else 0
