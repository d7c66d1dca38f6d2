"""Operations that are held after a restore: `batchseal operations list --held` and `batchseal operations resume`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchseal.commands.databases import open_operator_store
from batchseal.commands.messages import complain
from batchseal.settings.load import Settings

if TYPE_CHECKING:
    from batchseal.store.operator import Done, OperationFilter, OperationLine, Who


async def show(settings: Settings, wanted: "OperationFilter") -> int:
    """Lists what is held and meant by the filter, the oldest first. Returns the exit code."""
    from batchseal.commands.operating.output import shown_time

    found: list[OperationLine] = []
    async with open_operator_store(settings) as store:
        async for lines in store.all_operations(wanted):
            found += lines
    for line in sorted(found, key=lambda line: line.id):
        counts = f"{line.documents_signed} of {line.documents_total} signed, {line.documents_failed} failed"
        registered = f"{shown_time(line.created_at)} UTC"
        print(f"{line.id}  {registered}  {line.client_service}  {line.external_reference!r}  {counts}")
    print(f"{len(found)} operations are held.")
    return 0


async def resume(settings: Settings, ids: Sequence[int], wanted: "OperationFilter", who: "Who") -> int:
    """Resumes these, or without ids all that are held and meant by the filter. Returns the exit code."""
    from batchseal.commands.operating.output import done_text

    done: list[Done] = []
    async with open_operator_store(settings) as store:
        if ids:
            done += await store.resume(who, ids)
        else:
            async for some in store.resume_all(who, wanted):
                done += some
    changed = [one for one in done if one.result == "done"]
    print(f"{len(changed)} operations will be signed.")
    for one in done:
        if one.result != "done":
            complain(done_text("resume", one))
    return 0 if len(changed) == len(done) else 1
