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
acknowledged before the command began is in the backup; nothing is purged until it ends.

The files of client services, keys (--payload-key-file, --token-key-file) and exports of the audit trail are not
part of it. Whoever can read the backup can read the documents, unless --payload-key-file encrypts them."""

EXIT_CODES = "Exit code: 0 if the backup is complete, 2 if there is none."
USED = (*OF_DATABASE, "payload_store")


def command_parser(name: str, description: str, used: Sequence[str]) -> argparse.ArgumentParser:
    """A parser for a command with a folder and settings."""
    parser = settings_parser(name, description, used)
    parser.usage = f"batchseal {name} FOLDER [--FLAG=VALUE]..."
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the backup")
    return parser


def run(arguments: Sequence[str]) -> int:
    settings, options = parse(command_parser("backup", DESCRIPTION, USED), arguments)
    from batchseal.commands.backups.taking import take

    manifest = asyncio.run(take(settings, options.folder, complain))
    print(
        f"The backup in {options.folder} is complete: {manifest.operations} operations, of which {manifest.unfinished} are"
        f" unfinished, and {manifest.payloads} payloads."
    )
    if manifest.missing:
        print(f"The results of {len(manifest.missing)} operations were gone already; a restore marks them so.")
    return 0
