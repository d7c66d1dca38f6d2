"""An embedded database whose supervisor is a process of its own, so that both can be killed."""

import asyncio
import json
import sys
from pathlib import Path

SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
from batchseal.postgres import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    await server.start()
    print(json.dumps(server.owner_dsn), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def launch(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    """A supervisor in a process of its own, and the DSN that it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISOR, folder, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(120):
        line = await process.stdout.readline()
    assert line, "the supervisor did not start"
    return process, json.loads(line)
