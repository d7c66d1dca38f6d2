"""`batchseal audit verify` and `batchseal audit export`: check the chain of the audit trail, or export its entries."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from batchseal.audit.chain import Verifier, as_line
from batchseal.commands.databases import OF_DATABASE, open_store
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings
from batchseal.store.trail import AuditTrail

DESCRIPTION = """
Check the audit trail, or export it.

  verify          check the chain of entries in the database, and the exported files that still exist
  verify FILE...  check exported files, in the order in which they were exported
  export          write the entries in the database as JSON, one entry a line

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not."""

EXIT_CODES = "Exit code: 0 if the chain is intact or was exported, 1 if it is broken, 2 for wrong use."

USAGE = """batchseal audit verify [FILE...] [--FLAG=VALUE]...
       batchseal audit export [--out FILE] [--FLAG=VALUE]..."""

USED = ("work_folder", *OF_DATABASE, "audit_folder")


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("audit", DESCRIPTION, USED)
    parser.usage = USAGE
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=("verify", "export"), help="what to do, see above")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="an exported file, for verify")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the export (default: standard output)")
    settings, options = parse(parser, arguments)
    if options.action == "export":
        return asyncio.run(export(settings, options.out))
    return verify_files(options.files) if options.files else asyncio.run(verify(settings))


@asynccontextmanager
async def open_trail(settings: Settings) -> AsyncIterator[AuditTrail]:
    """Opens the audit trail as `open_store` opens the database."""
    async with open_store(settings) as store:
        yield AuditTrail(store.database, UUID(int=0))


async def verify(settings: Settings) -> int:
    """Checks the exported files that still exist, then the chain in the database from the last anchor on. Returns the exit code.

    When entries are exported and deleted from the database, an anchor keeps the position and the link of the last of them.
    """
    async with open_trail(settings) as trail:
        anchors = await trail.anchors()
        problems: list[str] = []
        verifier = Verifier()
        for anchor in anchors:
            path = settings.audit_path / anchor.file
            if path.exists():
                follow_file(verifier, path)
                if (verifier.position, verifier.link) != (anchor.last_position, anchor.last_link):
                    verifier.problems.append(f"{path} does not end at its anchor, entry {anchor.last_position}")
            else:
                print(
                    f"{path} does not exist: continuing after its last entry, {anchor.last_position}, with the link of its anchor"
                )
            problems += verifier.problems
            verifier = Verifier(anchor.last_position, anchor.last_link)
        await verifier.take_all(trail.read(verifier.position))
    return report(verifier, problems + verifier.problems)


def verify_files(paths: list[Path]) -> int:
    """Checks exported files as one chain, in the order given. Returns the exit code."""
    verifier: Verifier | None = None
    for path in paths:
        if verifier is None:
            verifier = Verifier()
        follow_file(verifier, path)
    assert verifier is not None
    return report(verifier, verifier.problems)


def follow_file(verifier: Verifier, path: Path) -> None:
    """Checks the entries of an exported file. Raises ConfigurationError if it cannot be read."""
    try:
        verifier.take_lines(path.read_bytes().splitlines(), path.name)
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from None


def report(verifier: Verifier, problems: list[str]) -> int:
    """Prints the result, with the first 20 problems. Returns the exit code."""
    for problem in problems[:20]:
        print(f"BROKEN: {problem}")
    if problems:
        print(f"The audit trail is broken: {len(problems)} problems.")
        return 1
    # Whoever keeps the last number and link elsewhere can find out later whether entries were cut off at the end.
    last = f"the last one is number {verifier.position} with the link {verifier.link.hex()}"
    print(f"The audit trail is intact: {verifier.entries} entries, {last}")
    return 0


async def export(settings: Settings, out: Path | None) -> int:
    """Writes all entries in the database to `out` (standard output if None), one JSON object a line. Returns the exit code."""
    with open(out or "/dev/stdout", "wb") as file:  # noqa: ASYNC230 (Nothing else runs in the event loop of a command.)
        async with open_trail(settings) as trail:
            async for entry in trail.read():
                file.write(as_line(entry))
    return 0
