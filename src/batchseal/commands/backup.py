"""`batchseal backup`: writes the database and all payloads of a service into a folder, while the service runs."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from batchseal.commands.databases import OF_DATABASE
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse, settings_parser

DESCRIPTION = """
Write a backup of the service that uses --temp-folder into FOLDER, which must be empty or missing: the embedded
database, and the payloads of all operations that have not been purged. The service may go on meanwhile. What it
acknowledged before the command began is in the backup; nothing is purged until it ends. Call it as the user of the
service, and with the --payload-store of the service. If it fails or is interrupted, FOLDER is empty again.

The files of client services, keys (--payload-key-file, --token-key-file) and exports of the audit trail are not
part of it. Whoever can read the backup can read the documents, unless --payload-key-file encrypts them."""

EXIT_CODES = "Exit code: 0 if the backup is complete, 2 if there is none."
# A restore uses the same settings.
USED = (*OF_DATABASE, "payload_store", "payload_store_key", "payload_store_secret", "payload_store_token")


def command_parser(name: str, description: str, exit_codes: str) -> argparse.ArgumentParser:
    """A parser for a command with a folder and settings."""
    parser = settings_parser(name, description, USED)
    parser.usage = f"batchseal {name} FOLDER [--FLAG=VALUE]..."
    parser.epilog = f"{parser.epilog}\n\n{exit_codes}"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the backup")
    return parser


def run(arguments: Sequence[str]) -> int:
    settings, options = parse(command_parser("backup", DESCRIPTION, EXIT_CODES), arguments)
    from batchseal.commands.backups.taking import take

    manifest = asyncio.run(take(settings, options.folder, complain))
    print(
        f"The backup in {options.folder} is complete: {manifest.operations} operations, of which {manifest.unfinished} are"
        f" unfinished, and {manifest.payloads} payloads."
    )
    if manifest.missing:
        print(f"The results of {len(manifest.missing)} operations were gone already; a restore marks them so.")
    return 0
