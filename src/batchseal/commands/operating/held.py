"""Operations that are held after a restore: `batchseal operations list --held`, `resume` and `cancel`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchseal.commands.databases import open_operator_store, open_store
from batchseal.commands.messages import complain
from batchseal.settings.load import Settings
from batchseal.store.backups import HeldOperations

if TYPE_CHECKING:
    from batchseal.store.operator import Done, Who

SAID = {"resume": "will be signed", "cancel": "are cancelled"}


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


async def decide(settings: Settings, action: str, ids: Sequence[int] | None, who: "Who") -> int:
    """Resumes or cancels these, or all that are held (None). Returns the exit code."""
    from batchseal.commands.operating.output import done_text
    from batchseal.store.operator_rows import OperationFilter

    done: list[Done] = []
    async with open_operator_store(settings) as store:
        if ids is not None:
            done += await (store.resume(who, ids) if action == "resume" else store.cancel(who, ids))
        else:
            held = OperationFilter(is_held=True)
            async for some in store.resume_all(who, held) if action == "resume" else store.cancel_all(who, held):
                done += some
    changed = [one for one in done if one.result == "done"]
    print(f"{len(changed)} operations {SAID[action]}.")
    for one in done:
        if one.result != "done":
            complain(done_text(action, one))
    return 0 if len(changed) == len(done) else 1
