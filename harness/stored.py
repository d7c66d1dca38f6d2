"""What a service has stored, found out from its database and its payload files without its own code for reading them."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from batchseal.payloads.extents import extents_of
from batchseal.payloads.frames import HEADER_BYTES, unpack_header


def owner_url(temp_folder: Path) -> str:
    """The address of a running service's embedded database, as the owner of its tables, who sees all rows."""
    url = (temp_folder / "database.url").read_text("utf-8").strip()
    return url.replace("//batchseal@", "//batchseal_owner@")


async def connect_as_owner(temp_folder: Path) -> asyncpg.Connection:
    settings = {"batchseal.scope": "*", "search_path": "batchseal"}
    return await asyncpg.connect(owner_url(temp_folder), server_settings=settings)


async def _fetch(temp_folder: Path, query: str) -> list[Any]:
    connection = await connect_as_owner(temp_folder)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


def signatures_by_operation(temp_folder: Path) -> dict[int, Counter[int]]:
    """For each operation how many signatures the database holds for each of its documents, by ordinal."""
    found: dict[int, Counter[int]] = {}
    query = "SELECT operation_id, ordinal FROM signatures WHERE signature <> ''"
    for record in asyncio.run(_fetch(temp_folder, query)):
        found.setdefault(record["operation_id"], Counter())[record["ordinal"]] += 1
    return found


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """A payload as it lies on the disk: all of a file, or a part of a segment."""

    id: UUID
    path: Path
    offset: int
    length: int

    def content(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)

    def torn_bytes(self) -> int:
        """How many bytes at its end belong to no whole frame."""
        data, offset = self.content(), 0
        while header := unpack_header(data[offset : offset + HEADER_BYTES], self.id, offset):
            if offset + HEADER_BYTES + header.stored_bytes > len(data):
                break
            offset += HEADER_BYTES + header.stored_bytes
        return len(data) - offset


def stored_payloads(temp_folder: Path) -> list[StoredPayload]:
    """All payloads, in no order. Files that go while this looks are left out."""
    found = []
    for path in sorted((temp_folder / "spill").iterdir()):
        with suppress(FileNotFoundError):
            if path.suffix == ".spill":
                found.append(StoredPayload(UUID(path.stem), path, 0, path.stat().st_size))
            elif path.suffix == ".segment":
                with path.open("rb") as file:
                    found += [
                        StoredPayload(one.payload_id, path, one.frames_offset, one.length)
                        for one in extents_of(file.fileno(), UUID(path.stem))
                    ]
    return found
