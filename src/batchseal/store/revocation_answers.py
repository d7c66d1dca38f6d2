"""`RevocationAnswers` keeps what was said of certificates, for all instances and over restarts."""

from dataclasses import dataclass
from datetime import datetime

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An OCSP response (`kind` 1) or a list of revoked certificates (2), in DER. It counts until `until`."""

    kind: int
    content: bytes
    fetched_at: datetime
    until: datetime


class RevocationAnswers:
    """A certificate is named by the SHA-256 of its DER. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def size(self, certificate: bytes) -> int:
        """The bytes of the answer that `of` would return; 0 if there is none."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(QUERIES["revocation_answer_bytes"], certificate) or 0)

    async def of(self, certificate: bytes) -> StoredAnswer | None:
        """The last answer, or None if there is none that still counts."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["revocation_answer"], certificate)
            return StoredAnswer(*record) if record is not None else None

    async def keep(self, certificate: bytes, answer: StoredAnswer) -> None:
        """Keeps an answer in place of an older one."""
        values = answer.kind, answer.content, answer.fetched_at, answer.until
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["keep_revocation_answer"], certificate, *values)

    async def forget(self, certificate: bytes) -> None:
        """Removes what is kept of a certificate."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["forget_revocation_answer"], certificate)
