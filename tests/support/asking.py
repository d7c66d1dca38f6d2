"""Who asks a responder whether certificates were revoked, with a clock of its own and a table in memory."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.responder import Responder

from batchseal.errors import DatabaseUnavailable
from batchseal.store.revocation_answers import StoredAnswer
from batchseal.upstream.certification_path import CertificationPaths
from batchseal.upstream.inquiry import Inquiry
from batchseal.upstream.revocation import Revocation
from batchseal.upstream.transport import Route
from batchseal.upstream.trust import Roots


class Kept:
    """The table, in memory."""

    def __init__(self) -> None:
        self.answers: dict[bytes, StoredAnswer] = {}
        self.away = False

    async def size(self, certificate: bytes) -> int:
        answer = await self.of(certificate)
        return 0 if answer is None else len(answer.content)

    async def of(self, certificate: bytes) -> StoredAnswer | None:
        if self.away:
            raise DatabaseUnavailable("away")
        return self.answers.get(certificate)

    async def keep(self, certificate: bytes, answer: StoredAnswer) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        self.answers[certificate] = answer

    async def forget(self, certificate: bytes) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        self.answers.pop(certificate, None)


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class House:
    """A responder and who asks it, with an own clock."""

    def __init__(self, responder: Responder, folder: Path) -> None:
        self.responder, self.folder, self.kept, self.clock = responder, folder, Kept(), Clock()
        (folder / "roots.pem").write_bytes(responder.root.public_bytes(Encoding.PEM))

    def revocation(
        self, *, hosts: tuple[str, ...] = ("127.0.0.1",), kept: Kept | None = None, seconds: float = 15.0, **more: Any
    ) -> Revocation:
        inquiry = Inquiry(Route(), hosts, ocsp_seconds=seconds, file_seconds=seconds)
        paths = CertificationPaths(lambda: [Roots(str(self.folder / "roots.pem"))], inquiry)
        return Revocation(inquiry, paths, kept or self.kept, now=self.clock, failed_seconds=0.0, **more)
