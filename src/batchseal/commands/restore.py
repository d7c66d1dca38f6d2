"""`batchseal restore`: puts a backup into an empty folder, from which the service then starts."""

import asyncio
from collections.abc import Sequence

from batchseal.commands.backup import command_parser
from batchseal.commands.databases import OF_DATABASE
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse

DESCRIPTION = """
Restore the backup in FOLDER into --temp-folder, which must be empty or missing. The backup is compared with its
checksums first.

Operations that were unfinished in the backup are held: the service does not sign them, since nobody can know what
was signed after the backup. `batchseal operations list --held` shows them, `batchseal operations resume` lets them
be signed, and `batchseal operations cancel` ends them. Callers see them as waiting until then. What the backup
knows as signed is never signed again.

The old service must not run any more, or callers have two of them."""

USED = (*OF_DATABASE, "payload_store")


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("restore", DESCRIPTION, USED)
    parser.add_argument("--check", action="store_true", help="only compare the backup with its checksums")
    settings, options = parse(parser, arguments)
    from batchseal.commands.backups.manifest import Manifest
    from batchseal.commands.backups.restoring import restore

    if options.check:
        Manifest.read(options.folder).check(options.folder, complain)
        print(f"The backup in {options.folder} is what was written.")
        return 0
    held = asyncio.run(restore(settings, options.folder, complain))
    print(f"The backup is restored into {settings.temp_folder}.")
    if held:
        print(f"{held} operations are held: see `batchseal operations list --held`, then resume or cancel them.")
    return 0
