"""`batchseal instances`: lists the instances that use a database, and forgets one that will not come back."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from batchseal.commands.databases import OF_DATABASE, open_store
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.settings.load import Settings
from batchseal.store.instances import Instance, InstanceTable
from batchseal.store.store import Store

DESCRIPTION = """
List the instances of the service that use a database, or forget one that will not come back.

  list       a table with a line for each: its id, address, version and payload store, when it was seen last, how many
             operations wait that it took in (WAITING), and how many of them only this instance can sign (ITS OWN)
  forget ID  end the operations whose documents lay in the folder of this instance alone, with a cause that tells
             callers to hand them in again, and mark its results as gone; what others can read they sign. For an
             instance whose folder is lost. One that was stopped and will start again must not be forgotten

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not.
Forgetting cannot be undone."""

EXIT_CODES = "Exit code: 0 if it is done, 1 if nothing was changed, 2 for wrong use."

USED = OF_DATABASE


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("instances", DESCRIPTION, USED)
    parser.usage = (
        "batchseal instances list [--FLAG=VALUE]...\n       batchseal instances forget ID [--force] [--FLAG=VALUE]..."
    )
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=("list", "forget"), help="what to do, see above")
    parser.add_argument("id", nargs="?", metavar="ID", help="the instance to forget, as `list` shows it")
    parser.add_argument("--force", action="store_true", help="forget an instance although it was seen a moment ago")
    settings, options = parse(parser, arguments)
    if options.action == "list":
        return asyncio.run(show(settings))
    try:
        instance = UUID(options.id or "")
    except ValueError:
        parser.error("forget needs the id of an instance, as `batchseal instances list` shows it")
    return asyncio.run(forget(settings, instance, force=options.force))


async def show(settings: Settings) -> int:
    async with open_store(settings) as store:
        if not await knows_instances(store):
            return 1
        found = await InstanceTable(store.database, UUID(int=0)).all()
    print(instances_table(found) if found else "No instance has used this database.")
    return 0


def instances_table(found: Sequence[Instance]) -> str:
    from batchseal.commands.operating.output import shown_time, table

    rows = [
        (
            str(one.id),
            one.address,
            one.version,
            one.store,
            f"stopped {shown_time(one.left_at)}" if one.left_at else f"{one.seconds_ago:.0f} s ago",
            str(one.unfinished),
            str(one.own),
        )
        for one in found
    ]
    return table(("ID", "ADDRESS", "VERSION", "STORE", "SEEN (UTC)", "WAITING", "ITS OWN"), rows)


async def forget(settings: Settings, instance: UUID, *, force: bool) -> int:
    """Forgets the instance, or changes nothing. Returns the exit code."""
    # These are imported late, so that --help and wrong flags are answered at once.
    from batchseal.audit.chain import Event, make_link
    from batchseal.store.forgetting import Forgetting

    async with open_store(settings) as store:
        if not await knows_instances(store):
            return 1
        known = {one.id: one for one in await InstanceTable(store.database, UUID(int=0)).all()}
        one = known.get(instance)
        if one is None and not force:
            complain(
                f"there is no instance {instance}; --force ends what one of an earlier release has left under this id"
            )
            return 1
        if one is not None and one.is_alive and not force:
            complain(
                f"instance {instance} at {one.address} was seen {one.seconds_ago:.0f} s ago; stop it first, or give --force"
            )
            return 1
        done = await Forgetting(store.database, instance, make_link, Event.RECORD_GIVEN_UP).forget(print)
    print(f"Instance {instance} is forgotten: {done.ended} operations ended, {done.lost_results} results are gone.")
    return 0


async def knows_instances(store: Store) -> bool:
    """Whether the database is new enough; complains if it is not."""
    if await InstanceTable(store.database, UUID(int=0)).exists():
        return True
    complain("the database is that of an earlier release; start the service once to bring it up to date")
    return False
