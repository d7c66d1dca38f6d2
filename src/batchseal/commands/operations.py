"""`batchseal operations`: what an operator decides about operations that are held after a restore."""

import argparse
import asyncio
from collections.abc import Sequence

from batchseal.commands.audit import OF_DATABASE
from batchseal.commands.settings_flags import parse, settings_parser

DESCRIPTION = """
Decide about operations that are held. After a restore, those are held that were unfinished in the backup: what was
signed after the backup cannot be known, so a document of theirs may have a signature already that its owner has.

  list --held       one line for each held operation
  resume ID...      let these be signed; their documents that the backup knows as signed are not signed again
  cancel ID...      end these: what is signed is delivered, and all other documents fail with the cause
                    "cancelled by an operator"; their references stay taken, and handing them in again continues them

With --all-held instead of ids, all of them. The database is that of --database-url, or that of the service which uses
--temp-folder, whether it runs or not."""

EXIT_CODES = "Exit code: 0 if it is done, 1 if an operation is not held, 2 for wrong use."


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("operations", DESCRIPTION, OF_DATABASE)
    parser.usage = (
        "batchseal operations list --held [--FLAG=VALUE]...\n"
        "       batchseal operations resume|cancel ID...|--all-held [--FLAG=VALUE]..."
    )
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=("list", "resume", "cancel"), help="what to do, see above")
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="the id of an operation")
    parser.add_argument("--held", action="store_true", help="list those that are held")
    parser.add_argument("--all-held", action="store_true", help="all that are held")
    settings, options = parse(parser, arguments)
    require_choice(parser, options)
    # Imported late, so that --help and wrong flags are answered at once.
    from batchseal.commands import held_operations

    if options.action == "list":
        return asyncio.run(held_operations.show(settings))
    decide = held_operations.resume if options.action == "resume" else held_operations.cancel
    return asyncio.run(decide(settings, None if options.all_held else options.ids))


def require_choice(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the command if it does not say which operations it is about."""
    if options.action == "list":
        if not options.held or options.ids:
            parser.error("list needs --held, and no ids")
    elif bool(options.ids) == options.all_held:
        parser.error(f"{options.action} needs either ids or --all-held")
