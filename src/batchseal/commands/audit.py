"""`batchseal audit verify` and `batchseal audit export`: check the chain of the audit trail, or export its entries."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from batchseal.audit.chain import Verifier
from batchseal.audit.tokens import StampChecks, stamp_in
from batchseal.audit.writer import lines_of
from batchseal.commands.databases import OF_DATABASE, open_store
from batchseal.commands.exports import export_to, say_written
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings
from batchseal.store.trail import NO_LINK, AuditTrail
from batchseal.upstream.trust import Roots, roots_of

DESCRIPTION = """
Check the audit trail, or export it.

  verify          check the chain of entries in the database, the exported files that still exist, and the time stamps
                  over the chain
  verify FILE...  check exported files, in the order in which they were exported
  export          write the entries in the database as JSON, one entry a line

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not."""

EXIT_CODES = "Exit code: 0 if the chain is intact or was exported, 1 if it is broken, 2 for wrong use."

USAGE = """batchseal audit verify [FILE...] [--FLAG=VALUE]...
       batchseal audit export [--out FILE] [--FLAG=VALUE]..."""

USED = ("work_folder", *OF_DATABASE, "audit_folder", "timestamp_urls", "timestamp_roots", "ca_bundle")


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("audit", DESCRIPTION, USED)
    parser.usage = USAGE
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=("verify", "export"), help="what to do, see above")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="an exported file, for verify")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the export (default: standard output)")
    settings, options = parse(parser, arguments)
    if options.action == "export":
        if options.files:
            parser.error("export takes no files; --out names the file to write")
        return asyncio.run(export(settings, options.out))
    return verify_files(options.files, settings) if options.files else asyncio.run(verify(settings))


@asynccontextmanager
async def open_trail(settings: Settings) -> AsyncIterator[AuditTrail]:
    """Opens the audit trail as `open_store` opens the database."""
    async with open_store(settings) as store:
        yield AuditTrail(store.database, UUID(int=0))


class Check:
    """One verification: the chain and the time stamps over it."""

    def __init__(self, settings: Settings) -> None:
        self.stamps = StampChecks(partial(roots_for, settings))

    def verifier(self, position: int = 0, link: bytes = NO_LINK) -> Verifier:
        return Verifier(position, link, seen=self.stamps.entry, stamped=self._stamped)

    def _stamped(self, fields: dict[str, Any], link: bytes) -> bool:
        """Judges the time stamp in a line of an export, which is about the entry in the line before it."""
        if (stamp := stamp_in(fields)) is None:
            return False
        self.stamps.judge(stamp, link)
        return True


def roots_for(settings: Settings) -> Roots:
    """The roots that time stamps must lead to: those of the settings, or that of the sandbox where it signs."""
    sandbox = settings.sandbox_folder / "root.pem"
    if not settings.timestamp_roots and not settings.timestamp_urls and settings.uses_sandbox and sandbox.exists():
        return Roots(str(sandbox))
    return roots_of(settings)


async def verify(settings: Settings) -> int:
    """Checks the exported files that still exist, then the chain in the database from the last anchor on. Returns the exit code.

    When entries are exported and deleted from the database, an anchor keeps the position and the link of the last of them. The
    time stamps in the database are about the entries that it still has; those of older entries stand in the exports.
    """
    check = Check(settings)
    async with open_trail(settings) as trail:
        anchors = await trail.anchors()
        problems: list[str] = []
        verifier = check.verifier()
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
            verifier = check.verifier(anchor.last_position, anchor.last_link)
        if await trail.knows_time_stamps():
            for stamp in await trail.time_stamps(verifier.position):
                check.stamps.expect(stamp)
        await verifier.take_all(trail.read(verifier.position))
    return report(verifier, problems + verifier.problems, check.stamps)


def verify_files(paths: list[Path], settings: Settings) -> int:
    """Checks exported files as one chain, in the order given. Returns the exit code."""
    check = Check(settings)
    verifier = check.verifier()
    for path in paths:
        follow_file(verifier, path)
    return report(verifier, verifier.problems, check.stamps)


def follow_file(verifier: Verifier, path: Path) -> None:
    """Checks the entries of an exported file. Raises ConfigurationError if it cannot be read."""
    try:
        with path.open("rb") as file:  # a month may be larger than the memory
            verifier.take_lines(file, path.name)
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from None


def report(verifier: Verifier, problems: list[str], stamps: StampChecks) -> int:
    """Prints the result, with the first 20 problems. Returns the exit code."""
    stamps.end()
    problems = [*problems, *stamps.problems]
    for problem in problems[:20]:
        print(f"BROKEN: {problem}")
    if problems:
        print(f"The audit trail is broken: {len(problems)} problems.")
        return 1
    # Whoever keeps the last number and link elsewhere can find out later whether entries were cut off at the end.
    last = f"the last one is number {verifier.position} with the link {verifier.link.hex()}"
    print(f"The audit trail is intact: {verifier.entries} entries, {last}")
    if stamps.checked:
        between = f"between {stamps.first_at:%Y-%m-%d %H:%M:%S} and {stamps.last_at:%Y-%m-%d %H:%M:%S} UTC"
        print(f"{stamps.checked} time stamps over it are right; they were given {between}")
    return 0


async def export(settings: Settings, out: Path | None) -> int:
    """Writes all entries in the database to `out` (standard output if None), one JSON object a line. Returns the exit code.

    The time stamp over an entry is one more line behind it.
    """
    async with open_trail(settings) as trail:
        stamps = await trail.time_stamps() if await trail.knows_time_stamps() else []
        by_position = {stamp.position: stamp for stamp in stamps}
        count = 0
        with export_to(out) as file:
            async for entry in trail.read():
                file.write(lines_of(entry, by_position.get(entry.position)))
                count += 1
    say_written(count, "entries", out)
    return 0
