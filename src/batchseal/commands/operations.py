"""`batchseal operations`: lists operations, shows one, and has them signed again, cancelled, purged or resumed."""

import argparse
import asyncio
import io
import os
import pwd
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchseal.commands.databases import OF_DATABASE, open_operator_store
from batchseal.commands.exports import export_to, say_written
from batchseal.commands.messages import complain, confirmed
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.settings.load import Settings

if TYPE_CHECKING:
    from batchseal.store.operator import Done, OperationFilter, OperationLine, OperatorStore, Who

DESCRIPTION = """
List the operations of a service, show one, and have operations signed again, cancelled, purged or resumed.

  list        one line for each operation, the newest first; the flags below say which
  show ID     one operation: its time line, its sign calls, why documents failed; with --documents its documents
  retry       have the failed documents of failed operations signed, without a new upload
  cancel      end operations that are not finished: what is not signed yet fails; the reference stays taken, and
              handing the same documents in again goes on with the operation
  purge       delete the documents and results of finished operations, whether they were fetched or not
  resume      have operations signed that are held: after a restore, those that were unfinished in the backup. What was
              signed after the backup cannot be known, so a document may get a second signature. With --held instead
              of ids, all that are held, or those of them that the other flags name; list --held shows them, and
              cancel --held ends them
  export      write all operations that the flags name as CSV, or with --json as one JSON object a line

retry, cancel and purge take the ids of operations, or flags that say which are meant; then they ask before they begin,
unless --yes is given. Each of them, and resume, leaves an entry in the audit trail for each operation: what was done, who
did it and where. They work while the service runs and while it does not; documents are signed and deleted by the service.

The database is that of --database-url, or that of the service which uses --temp-folder."""

EXIT_CODES = "Exit code: 0 if it is done, 1 if something was left as it was or nothing was found, 2 for wrong use."

USAGE = """batchseal operations list [--status STATUS] [...] [--limit N] [--json]
       batchseal operations show ID [--documents] [--json]
       batchseal operations retry (ID... | FILTER) [--also-fetched] [--everything] [--yes] [--json]
       batchseal operations cancel (ID... | FILTER) [--yes] [--json]
       batchseal operations purge (ID... | FILTER) [--yes] [--json]
       batchseal operations list --held [FILTER]
       batchseal operations resume (ID... | --held [FILTER])
       batchseal operations export [FILTER] [--out FILE] [--json]"""

ACTIONS = ("list", "show", "retry", "cancel", "purge", "resume", "export")
OF_HELD = ("list", "resume", "cancel")
CHANGES = ("retry", "cancel", "purge")
SHOWN_DOCUMENTS = 10_000

USED = (*OF_DATABASE, "payload_hours_fetched", "payload_days_unfetched")


def run(arguments: Sequence[str]) -> int:
    from batchseal.commands.operating.filters import add_filters, filter_of

    parser = settings_parser("operations", DESCRIPTION, USED)
    parser.usage = USAGE
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=ACTIONS, help="what to do, see above")
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="the ids of operations, as `list` shows them")
    add_filters(parser)
    output = parser.add_argument_group("what to do with them")
    output.add_argument("--limit", type=int, default=50, metavar="N", help="list so many (default: 50)")
    output.add_argument("--documents", action="store_true", help="show: the documents too")
    output.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    output.add_argument("--out", type=Path, metavar="FILE", help="export: into this file (default: standard output)")
    output.add_argument(
        "--also-fetched",
        action="store_true",
        help="retry: also operations whose result was fetched. Their callers were told that they failed for good, and do "
        "not ask again by themselves",
    )
    output.add_argument(
        "--everything", action="store_true", help="retry: also documents in which the fault itself lies"
    )
    output.add_argument("--yes", action="store_true", help="do not ask whether the operations of a filter are meant")
    settings, options = parse(parser, arguments)
    wanted = filter_of(options)
    has_filter = wanted != type(wanted)()
    if options.limit < 1:
        parser.error("--limit must be at least 1")
    if options.held and options.action not in OF_HELD:
        parser.error(f"--held is for {', '.join(OF_HELD)}")
    if options.action == "resume" and (bool(options.ids) == options.held or (options.ids and has_filter)):
        parser.error("resume needs either the ids of operations or --held, perhaps with flags that say which of them")
    if options.action == "show" and len(options.ids) != 1:
        parser.error("show needs the id of one operation")
    if options.action in ("list", "export") and options.ids:
        parser.error(f"{options.action} takes no ids; show ID shows one operation")
    if options.action in CHANGES and bool(options.ids) == has_filter:
        parser.error(f"{options.action} needs either ids of operations or flags that say which are meant")
    return asyncio.run(operate(settings, options, wanted))


async def operate(settings: Settings, options: argparse.Namespace, wanted: "OperationFilter") -> int:
    """Does what the command line says. Returns the exit code."""
    from batchseal.commands.operating import held

    if options.action == "resume":
        return await held.resume(settings, options.ids, wanted, who_acts())
    if options.held and options.action == "list" and not options.json:
        return await held.show(settings, wanted)
    async with open_operator_store(settings) as store:
        if options.action == "list":
            return await show_list(store, options, wanted)
        if options.action == "show":
            return await show_one(store, options.ids[0], documents=options.documents, as_json=options.json)
        if options.action == "export":
            return await export(store, wanted, options.out, as_json=options.json)
        return await change(store, options, wanted)


async def show_list(store: "OperatorStore", options: argparse.Namespace, wanted: "OperationFilter") -> int:
    from batchseal.commands.operating.output import line_of_json, operations_table

    lines: list[OperationLine] = []
    async for some in store.all_operations(wanted, min(max(1, options.limit), 1_000)):
        lines += some[: options.limit - len(lines)]
        if len(lines) >= options.limit:
            break
    if options.json:
        for line in lines:
            print(line_of_json(line))
    else:
        print(operations_table(lines))
    return 0


async def show_one(store: "OperatorStore", operation_id: int, *, documents: bool, as_json: bool) -> int:
    from batchseal.commands.operating.output import detail_text, line_of_json

    found = await store.operation(operation_id)
    if found is None:
        complain(f"there is no operation {operation_id}")
        return 1
    page = await store.documents(operation_id, limit=SHOWN_DOCUMENTS) if documents else None
    rows = page.rows if page is not None else ()
    if as_json:
        print(line_of_json(found))
        for row in rows:
            print(line_of_json(row))
    else:
        print(detail_text(found, rows))
    return 0


async def export(store: "OperatorStore", wanted: "OperationFilter", out: Path | None, *, as_json: bool) -> int:
    count = 0
    with export_to(out) as file:
        file.write(exported((), as_json=as_json, head=True))
        async for lines in store.all_operations(wanted):
            file.write(exported(lines, as_json=as_json, head=False))
            count += len(lines)
    say_written(count, "operations", out)
    return 0


def exported(lines: "Sequence[OperationLine]", *, as_json: bool, head: bool) -> bytes:
    """A part of an export. `head`: CSV begins with the names of its columns."""
    from batchseal.commands.operating.output import line_of_json, write_csv

    text = io.StringIO(newline="")
    if as_json:
        text.writelines(f"{line_of_json(line)}\n" for line in lines)
    else:
        write_csv(text, lines, head=head)
    return text.getvalue().encode()


async def change(store: "OperatorStore", options: argparse.Namespace, wanted: "OperationFilter") -> int:
    """Retries, cancels or purges, and says what became of each operation."""
    from batchseal.commands.operating.output import done_text, line_of_json

    if not options.ids and not options.yes and not await may_change(store, options.action, wanted):
        return 1
    changed = left = documents = 0
    async for some in changes(store, options, wanted):
        for done in some:
            print(line_of_json(done) if options.json else done_text(options.action, done))
            changed += done.result == "done"
            left += done.result != "done"
            documents += done.documents
    if not options.json:
        print(f"{changed} operations with {documents} documents; {left} left as they were.")
    return 0 if changed and not left else 1


async def changes(
    store: "OperatorStore", options: argparse.Namespace, wanted: "OperationFilter"
) -> AsyncIterator[list["Done"]]:
    who = who_acts()
    how = {"also_fetched": options.also_fetched, "everything": options.everything} if options.action == "retry" else {}
    if options.ids:
        yield await getattr(store, options.action)(who, options.ids, **how)
        return
    async for some in getattr(store, f"{options.action}_all")(who, wanted, **how):
        yield some


async def may_change(store: "OperatorStore", action: str, wanted: "OperationFilter") -> bool:
    """Asks the person at the terminal. Without a terminal, --yes is needed."""
    count = await store.count(wanted)
    more = "more than " if count.is_cut else ""
    meant = f"{more}{count.operations} operations with {more}{count.documents} documents"
    if not count.operations:
        complain("no operation is meant by these flags")
        return False
    if not sys.stdin.isatty():
        complain(f"these flags name {meant}; --yes is needed to {action} them")
        return False
    return confirmed(f"These flags name {meant}. {action.capitalize()} those of them that can be?")


def who_acts() -> "Who":
    """The account that runs the command, and where, for the audit trail. What variables such as LOGNAME say does not count."""
    from batchseal.store.operator import Who

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = f"user {os.geteuid()}"
    return Who(name, f"command line on {socket.gethostname()}")
