"""`batchseal audit verify` and `batchseal audit export`."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

from batchseal.audit.chain import Verifier, as_line
from batchseal.errors import ConfigurationError
from batchseal.postgres.server import EmbeddedPostgres
from batchseal.processes.instance import in_use
from batchseal.settings.load import Settings
from batchseal.store.store import Store
from batchseal.store.trail import AuditTrail


def run(settings: Settings, options: Namespace) -> int:
    """Exit code 0 where the chain holds (or was exported), 1 where it does not."""
    if options.action == "export":
        return asyncio.run(export(settings, options.out))
    return verify_files(options.files) if options.files else asyncio.run(verify(settings))


@asynccontextmanager
async def open_trail(settings: Settings) -> AsyncIterator[AuditTrail]:
    """The trail of a running service, of --database-url, or of an embedded database that nobody runs now."""
    server = None
    url = settings.database_url
    if not url and in_use(settings.temp_folder):
        try:
            url = settings.dsn_path.read_text("utf-8").strip()
        except OSError as problem:
            raise ConfigurationError(f"{settings.dsn_path}: {problem.strerror}") from None
    elif not url:
        folder = settings.temp_folder / "postgres"
        if not (folder / "data").exists():
            raise ConfigurationError(f"there is no database in {settings.temp_folder}; --temp-folder names another")
        server = EmbeddedPostgres(folder, Path(settings.postgres_bin) if settings.postgres_bin else None)
        url = await server.start()
    try:
        store = await Store.connect(url, instance=uuid4(), pool_size=1)
        try:
            yield AuditTrail(store.database, UUID(int=0))
        finally:
            await store.close()
    finally:
        if server:
            await server.stop()


async def verify(settings: Settings) -> int:
    """The chain in the database, from the anchor of what was exported; the exported files where they still are."""
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
                print(f"{path} is not here: going on from its anchor, entry {anchor.last_position}")
            problems += verifier.problems
            verifier = Verifier(anchor.last_position, anchor.last_link)
        await verifier.take_all(trail.read(verifier.position))
    return report(verifier, problems + verifier.problems)


def verify_files(paths: list[Path]) -> int:
    """Exported files, one after the other as they are given."""
    verifier: Verifier | None = None
    for path in paths:
        if verifier is None:
            verifier = Verifier()
        follow_file(verifier, path)
    assert verifier is not None
    return report(verifier, verifier.problems)


def follow_file(verifier: Verifier, path: Path) -> None:
    try:
        verifier.take_lines(path.read_bytes().splitlines(), path.name)
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from None


def report(verifier: Verifier, problems: list[str]) -> int:
    for problem in problems[:20]:
        print(f"BROKEN: {problem}")
    if problems:
        print(f"The audit trail does not hold: {len(problems)} problems.")
        return 1
    # Kept somewhere else, these two show later whether the end was cut off.
    print(f"The audit trail holds: {verifier.entries} entries, the last is {verifier.position}, {verifier.link.hex()}")
    return 0


async def export(settings: Settings, out: Path | None) -> int:
    """All entries in the database, one JSON object a line."""
    with open(out or "/dev/stdout", "wb") as file:  # noqa: ASYNC230 (a command: nothing else runs)
        async with open_trail(settings) as trail:
            async for entry in trail.read():
                file.write(as_line(entry))
    return 0
