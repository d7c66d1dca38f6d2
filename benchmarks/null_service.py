"""The floor of the end-to-end benchmark: what the same server costs that does nothing with what it moves.

The worker's own server set-up around a BlackSheep application that drains a body, writes three quarters of its bytes (the
payload, without base64) to the same disk and syncs them, and streams any number of bytes back. No scanning, digesting,
database or upstream. Writes and syncs run in threads beside the reading, as the service does it.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop
from blacksheep import Application, Content, Request, Response, Router, StreamedContent

from batchseal.settings.load import Settings
from batchseal.worker.server import build_server, until_listening

BATCH_BYTES = 8 << 20
SYNC_BYTES = 32 << 20
PIECE_BYTES = 512 << 10


class Drain:
    """Stores bodies under a folder, and forgets each as soon as it is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = ThreadPoolExecutor(2)
        self.count = 0

    async def store(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        self.count += 1
        path = self.folder / f"{self.count}.null"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        writing: asyncio.Future[Any] | None = None
        syncing: asyncio.Future[Any] | None = None
        batch: list[memoryview] = []
        held = unsynced = 0
        pieces: Any = request.stream()  # its stub leaves out that it is a generator
        async for chunk in pieces:
            part = memoryview(chunk)[: len(chunk) * 3 // 4]
            batch.append(part)
            held += len(part)
            if held >= BATCH_BYTES:
                if writing:
                    await writing
                writing = loop.run_in_executor(self.pool, os.writev, file, batch)
                unsynced += held
                batch, held = [], 0
                if unsynced > SYNC_BYTES and (syncing is None or syncing.done()):
                    syncing, unsynced = loop.run_in_executor(None, os.fdatasync, file), 0
        for future in (writing, syncing):
            if future:
                await future
        if batch:
            os.writev(file, batch)
        await loop.run_in_executor(self.pool, os.fsync, file)
        os.close(file)
        path.unlink()
        return Response(200, content=Content(b"application/json", b"{}"))

    async def stream(self, request: Request) -> Response:
        left = int(str((request.route_values or {})["size"]))
        piece = bytes(PIECE_BYTES)

        async def content() -> AsyncIterator[bytes]:
            for _ in range(left // PIECE_BYTES):
                yield piece
            if left % PIECE_BYTES:
                yield piece[: left % PIECE_BYTES]

        return Response(200, content=StreamedContent(b"application/json", content))


async def serve(port: int, folder: Path) -> None:
    drain = Drain(folder)
    application = Application(router=Router())

    async def store(request: Request) -> Response:
        return await drain.store(request)

    async def stream(request: Request) -> Response:
        return await drain.stream(request)

    application.router.add("POST", "/null", store)
    application.router.add("GET", "/null/{size}", stream)
    await application.start()
    settings = Settings(host="127.0.0.1", port=port)
    server = build_server(application, settings)  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve())
    await until_listening(settings, serving)
    print("ready", flush=True)
    await serving


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
