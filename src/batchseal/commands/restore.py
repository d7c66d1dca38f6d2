"""`batchseal restore`: puts a backup into an empty folder, from which the service then starts."""

import asyncio
from collections.abc import Sequence

from batchseal.commands.backup import command_parser
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse

DESCRIPTION = """
Restore the backup in FOLDER into --temp-folder, which must be empty or missing. The backup is compared with its
checksums first.

Operations that were unfinished in the backup are held: the service does not sign them, since nobody can know what
was signed after the backup. `batchseal operations list --held` shows them, `batchseal operations resume` lets them
be signed, and `batchseal operations cancel` ends them. Callers see them as waiting until then. What the backup
knows as signed is never signed again.

The old service must not run any more, or callers have two of them. Call the command as the user that the service runs
as, and with the --payload-store that the service had. If it fails or is interrupted, no service starts in the folder:
empty it, and restore again. Restore only what you trust: whoever can change a backup decides what the database does."""

EXIT_CODES = "Exit code: 0 if the backup is restored, or with --check is what was written; 2 if it is not."


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("restore", DESCRIPTION, EXIT_CODES)
    parser.usage = "batchseal restore FOLDER [--check] [--FLAG=VALUE]..."
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
