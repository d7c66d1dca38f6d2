"""The table `validation_materials`: validation material, stored once for all documents of a day that refer to it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from batchseal.store.columns import material_digest, signature_row, wanted_material
from batchseal.store.database import Connection
from batchseal.store.queries import QUERIES
from batchseal.store.rows import SignatureRow


class MaterialTable:
    """Remembers which material this process has stored, so that a batch asks the database once."""

    def __init__(self) -> None:
        self._stored: dict[date, set[bytes]] = {}

    async def keep(self, connection: Connection, day: date, kept: Sequence[SignatureRow]) -> None:
        """Stores the material that these rows refer to. The partition of the day is there."""
        stored = self._stored.get(day, set())
        materials = {
            material_digest(one.evidence.material): one.evidence.material
            for one in kept
            if one.evidence is not None and one.evidence.material
        }
        if new := {digest: content for digest, content in materials.items() if digest not in stored}:
            alone = not connection.is_in_transaction()
            await connection.execute(QUERIES["keep_materials"], day, list(new), list(new.values()), alone)
            # Of a past day nothing more is likely to come.
            self._stored = {day: stored | new.keys()}

    def forget(self, day: date) -> None:
        """The partition of the day may have gone, or what was stored may not have been committed."""
        self._stored.pop(day, None)

    async def rows(
        self, connection: Connection, day: date, records: Sequence[Mapping[str, Any]]
    ) -> dict[int, SignatureRow]:
        """The rows in records of the query `evidence`, by ordinal. Documents that share material share its bytes."""
        found: dict[bytes, bytes] = {}
        if digests := {digest for record in records if (digest := wanted_material(record))}:
            read = await connection.fetch(QUERIES["materials"], day, list(digests))
            found = {record["digest"]: record["content"] for record in read}
        return {record["ordinal"]: signature_row(record, found) for record in records}
