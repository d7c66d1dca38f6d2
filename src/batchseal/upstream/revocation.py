"""Finds out whether certificates were revoked, and gives the material with which others can find it out later.

Owns the answers: each certificate is asked about once while its answer counts, however many wait for it, and again in the
background when half of that time is over. Answers are kept in the database for all instances, and verified anew when they are
read from there. A responder is asked first (`ocsp`), then lists of revoked certificates (`crl`), and only about certificates that
lead to a trusted root (`certification_path`). The memory of long lists is booked before they are read. Leaves requests to
`inquiry`, and what belongs to the material to `gathering`.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Protocol

import structlog
from cryptography import x509

from batchseal.document import Material
from batchseal.errors import (
    CertificateRevoked,
    DatabaseUnavailable,
    MaterialImpossible,
    MaterialUnavailable,
    NoRoom,
    UpstreamError,
)
from batchseal.settings.load import Settings
from batchseal.store.revocation_answers import StoredAnswer
from batchseal.system.backoff import LONGEST_UNPROVEN_SECONDS
from batchseal.system.futures import retrieve_failure
from batchseal.system.telemetry.events import Category, security_event
from batchseal.upstream import crl, ocsp
from batchseal.upstream.certification_path import CertificationPaths, der_of
from batchseal.upstream.gathering import Gathering, Kind, Status
from batchseal.upstream.inquiry import Inquiry
from batchseal.upstream.places import places_of
from batchseal.upstream.transport import route_of
from batchseal.upstream.trust import Roots, roots_of, signer_roots_of

MAX_CRL_BYTES = 16 << 20
# A list is in memory several times: in pieces and whole while it comes, then whole and what is signed in it, or in a message to
# the database. Shorter answers, as those of OCSP responders are, need not be booked.
CRL_COPIES, UNBOOKED_BYTES = 3, ocsp.MAX_ANSWER_BYTES
# After a failure nobody is asked about the certificate for so long. One that was found revoked is asked about again too, since a
# suspension may end, and a responder may not know a new certificate yet.
FAILED_SECONDS, REVOKED_SECONDS = 15.0, 600.0

log = structlog.get_logger("upstream")


# Holds so many bytes of memory during the block. Raises NoRoom.
Reserve = Callable[[int], AbstractAsyncContextManager[None]]


def unbounded(memory_bytes: int) -> AbstractAsyncContextManager[None]:
    """A `Reserve` where nobody counts memory."""
    return nullcontext()


class Answers(Protocol):
    """Where answers are kept (store/revocation_answers.py)."""

    async def size(self, certificate: bytes) -> int: ...

    async def of(self, certificate: bytes) -> StoredAnswer | None: ...

    async def keep(self, certificate: bytes, answer: StoredAnswer) -> None: ...

    async def forget(self, certificate: bytes) -> None: ...


class Revocation:
    """One for the signer process. An answer is used for `max_age` from when it came, at most; `now` gives the time and zone.

    Roots are read when the first certificate is asked about.
    """

    def __init__(
        self,
        inquiry: Inquiry,
        paths: CertificationPaths,
        answers: Answers,
        *,
        max_age: timedelta = timedelta(hours=24),
        crl_embed_bytes: int = 256 << 10,
        failed_seconds: float = FAILED_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        reserve: Reserve = unbounded,
    ) -> None:
        self._inquiry = inquiry
        self._paths = paths
        self._answers = answers
        self._max_age = max_age
        self._crl_embed_bytes = crl_embed_bytes
        self._failed_seconds = failed_seconds
        self._now = now
        self._reserve = reserve
        self._known: dict[bytes, Status] = {}  # by the SHA-256 of the certificate
        self._failed: dict[bytes, tuple[float, UpstreamError]] = {}  # until when (monotonic), and why
        self._finding: dict[bytes, asyncio.Task[Status]] = {}
        self._asked = self._failures = 0

    @classmethod
    def of(cls, settings: Settings, answers: Answers, reserve: Reserve = unbounded) -> "Revocation":
        """Raises ConfigurationError for a proxy, or a file of `--signer-roots`, that cannot be used."""
        if settings.signer_roots:
            signer_roots_of(settings)  # a mistake in it is said at the start, and not when a document needs it
        inquiry = Inquiry(route_of(settings), settings.revocation_private_hosts.split())
        return cls(
            inquiry,
            CertificationPaths(partial(all_roots, settings), inquiry),
            answers,
            max_age=timedelta(hours=settings.revocation_max_age),
            crl_embed_bytes=settings.crl_embed_bytes,
            reserve=reserve,
        )

    async def close(self) -> None:
        for task in list(self._finding.values()):
            task.cancel()

    # --- what others ask for ------------------------------------------------------------------------------------------

    async def check(self, chain: Sequence[bytes]) -> None:
        """Returns if the first certificate of `chain` (DER), and those that lead from it to a root, were not revoked.

        Raises CertificateRevoked, MaterialUnavailable, MaterialImpossible.
        """
        for certificate, issuer in pairwise(await self._paths.of(chain)):
            await self._status(certificate, issuer)

    async def material(self, chains: Sequence[Sequence[bytes]]) -> Material:
        """Material for every certificate of these chains (the one of the signer or the authority first).

        Raises CertificateRevoked, MaterialUnavailable, and MaterialImpossible if a certificate names no address, if its list is
        too large to be embedded, or if an authority has too many responders (`gathering`).
        """
        gathering = Gathering(self._status)
        for chain in chains:
            await gathering.add(await self._paths.of(chain))
        return gathering.found()

    async def hosts(self, chain: Sequence[bytes]) -> list[str]:
        """`HOST:PORT` of everybody who may be asked about these certificates, for whoever opens a firewall."""
        try:
            path = await self._paths.of(chain)
        except UpstreamError:
            path = [x509.load_der_x509_certificate(der) for der in chain]
        return sorted({host for certificate in path for host in places_of(certificate).hosts})

    def remarks(self) -> list[str]:
        """What an operator should know."""
        return sorted(
            {problem.cause for _, problem in self._failed.values() if isinstance(problem, CertificateRevoked)}
        )

    def numbers(self) -> dict[str, float]:
        return {
            "batchseal_certificates_revoked": float(len(self.remarks())),
            "batchseal_revocation_requests_total": float(self._asked),
            "batchseal_revocation_requests_failed_total": float(self._failures),
        }

    # --- the status of one certificate --------------------------------------------------------------------------------

    async def _status(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Status:
        """The answer that counts now. Raises CertificateRevoked, MaterialUnavailable, MaterialImpossible."""
        key, now = digest_of(certificate), self._now()
        known = self._known.get(key)
        if known is not None and known.until > now:
            if known.is_half_over(now) and not self._paused(key):
                self._begin(key, certificate, issuer, renewed=known)
            return known
        if (problem := self._paused(key)) is not None:
            raise problem
        # Whoever waits may be cancelled; the others go on waiting.
        return await asyncio.shield(self._begin(key, certificate, issuer))

    def _paused(self, key: bytes) -> UpstreamError | None:
        """Why nobody is asked about a certificate now."""
        until, problem = self._failed.get(key, (0.0, None))
        left = until - time.monotonic()
        return None if problem is None or left <= 0 else type(problem)(problem.cause, retry_after_seconds=left)

    def _begin(
        self, key: bytes, certificate: x509.Certificate, issuer: x509.Certificate, renewed: Status | None = None
    ) -> "asyncio.Task[Status]":
        """Begins to find the answer, or joins those who wait for it."""
        if (task := self._finding.get(key)) is None:
            task = self._finding[key] = asyncio.create_task(self._find(key, certificate, issuer, renewed))
            task.add_done_callback(lambda ended: self._end(key, ended))
        return task

    def _end(self, key: bytes, task: "asyncio.Task[Status]") -> None:
        del self._finding[key]
        retrieve_failure(task)

    async def _find(
        self, key: bytes, certificate: x509.Certificate, issuer: x509.Certificate, renewed: Status | None
    ) -> Status:
        try:
            async with AsyncExitStack() as room:
                status = await self._stored(key, certificate, issuer, renewed, room)
                if status is None:
                    status = await self._ask(certificate, issuer, room)
                    await self._keep(key, status)
                status = self._without_long_list(status)
        except UpstreamError as problem:
            self._note_failure(key, problem)
            if isinstance(problem, CertificateRevoked):
                await self._forget(key)
            raise
        self._failed.pop(key, None)
        now = self._now()
        self._known = {one: known for one, known in self._known.items() if known.until > now} | {key: status}
        return status

    def _without_long_list(self, status: Status) -> Status:
        """A list that is not embedded is not kept in memory, since the answer may count for a day."""
        if len(status.content) <= self._crl_embed_bytes or status.kind is not Kind.CRL:
            return status
        return replace(status, content=b"", content_bytes=len(status.content))

    async def _book(self, room: AsyncExitStack, answer_bytes: int) -> None:
        """Holds the memory for an answer that comes until `room` is closed. Raises MaterialUnavailable."""
        if answer_bytes <= UNBOOKED_BYTES:
            return
        try:
            await room.enter_async_context(self._reserve(CRL_COPIES * answer_bytes))
        except NoRoom as problem:
            cause = f"there is no memory for a CRL of {answer_bytes} bytes: {problem.cause}"
            raise MaterialUnavailable(cause, retry_after_seconds=problem.retry_after_seconds) from None

    def _note_failure(self, key: bytes, problem: UpstreamError) -> None:
        is_revoked = isinstance(problem, CertificateRevoked)
        asked = min(problem.retry_after_seconds or 0.0, LONGEST_UNPROVEN_SECONDS)
        pause = REVOKED_SECONDS if is_revoked else max(self._failed_seconds, asked)
        self._failed[key] = time.monotonic() + pause, problem
        if is_revoked:
            self._known.pop(key, None)
            said = "a certificate was revoked, nothing is signed with it"
            security_event(said, Category.IAM, "certificate-revoked", success=False, cause=problem.cause)
        else:
            log.warning("nobody can say whether a certificate was revoked", cause=problem.cause)

    async def _stored(
        self,
        key: bytes,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        renewed: Status | None,
        room: AsyncExitStack,
    ) -> Status | None:
        """The answer that is kept, if it counts. For a renewal it must be a newer one, which another instance has got."""
        try:
            await self._book(room, await self._answers.size(key))
            kept = await self._answers.of(key)
        except DatabaseUnavailable:
            return None
        if kept is None or (renewed is not None and kept.fetched_at <= renewed.fetched_at):
            return None
        judge = self._judge_ocsp if kept.kind == Kind.OCSP else self._judge_crl
        try:
            return await asyncio.to_thread(judge, kept.content, certificate, issuer, kept.fetched_at)
        except MaterialUnavailable as problem:
            log.warning("a stored answer about a certificate does not count any more", cause=problem.cause)
            return None

    async def _keep(self, key: bytes, status: Status) -> None:
        try:
            await self._answers.keep(key, StoredAnswer(status.kind, status.content, status.fetched_at, status.until))
        except DatabaseUnavailable as problem:
            log.warning("an answer about a certificate is not kept", cause=problem.cause)

    async def _forget(self, key: bytes) -> None:
        """An older answer may still count for hours, and say that the certificate was good."""
        try:
            await self._answers.forget(key)
        except DatabaseUnavailable as problem:
            log.error("an older answer about a revoked certificate is still kept", cause=problem.cause)

    async def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate, room: AsyncExitStack) -> Status:
        """Asks the places that the certificate names, until one gives an answer that counts."""
        places, problems = places_of(certificate), list[MaterialUnavailable]()
        if not (places.ocsp or places.crls):
            raise MaterialImpossible(f"{name_of(certificate)} names no OCSP responder and no CRL")
        request, book = ocsp.request_for(certificate, issuer), partial(self._book, room)
        ways = [(partial(self._inquiry.ocsp, address, request), self._judge_ocsp) for address in places.ocsp]
        ways += [
            (partial(self._inquiry.file, address, MAX_CRL_BYTES, book), self._judge_crl) for address in places.crls
        ]
        for ask, judge in ways:
            await room.aclose()  # what the one before had needed
            self._asked += 1
            try:
                return await asyncio.to_thread(judge, await ask(), certificate, issuer, self._now())
            except MaterialUnavailable as problem:
                self._failures += 1
                problems.append(problem)
        waits = [problem.retry_after_seconds for problem in problems if problem.retry_after_seconds is not None]
        causes = "; ".join(problem.cause for problem in problems)
        raise MaterialUnavailable(causes, retry_after_seconds=min(waits, default=None))

    def _judge_ocsp(
        self, content: bytes, certificate: x509.Certificate, issuer: x509.Certificate, fetched_at: datetime
    ) -> Status:
        answer = ocsp.judge(content, certificate, issuer, self._now())
        return Status(Kind.OCSP, answer.der, fetched_at, self._until(answer.until, fetched_at), answer.responder)

    def _judge_crl(
        self, content: bytes, certificate: x509.Certificate, issuer: x509.Certificate, fetched_at: datetime
    ) -> Status:
        until = crl.judge(content, certificate, issuer, self._now())
        return Status(Kind.CRL, content, fetched_at, self._until(until, fetched_at))

    def _until(self, ends: datetime, fetched_at: datetime) -> datetime:
        """Until when an answer is used: to its end, for `max_age` at most. Raises MaterialUnavailable if that is over."""
        until = min(ends, fetched_at + self._max_age)
        if until <= self._now():
            raise MaterialUnavailable(
                f"the answer came on {fetched_at:%Y-%m-%d %H:%M}, which is too long ago (--revocation-max-age)"
            )
        return until


class NothingKept:
    """`Answers` for a command that leaves nothing behind."""

    async def size(self, certificate: bytes) -> int:
        return 0

    async def of(self, certificate: bytes) -> StoredAnswer | None:
        return None

    async def keep(self, certificate: bytes, answer: StoredAnswer) -> None:
        pass

    async def forget(self, certificate: bytes) -> None:
        pass


def all_roots(settings: Settings) -> Sequence[Roots]:
    """The roots of signers, and those of time stamp authorities where they are others."""
    of_signers = signer_roots_of(settings)
    return [of_signers] if settings.timestamp_roots == settings.signer_roots else [of_signers, roots_of(settings)]


def digest_of(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(der_of(certificate)).digest()


def name_of(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
