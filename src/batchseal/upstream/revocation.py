"""Finds out whether certificates were revoked, and gives the material with which others can find it out later.

Owns the answers: each certificate is asked about once while its answer counts, however many wait for it, and again in the
background when half of that time is over. Answers are kept in the database for all instances, and verified anew when they are
read from there. A responder is asked first (`ocsp`), then lists of revoked certificates (`crl`), and only about certificates that
lead to a trusted root (`certification_path`). Leaves requests to `inquiry`.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
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
    UpstreamError,
)
from batchseal.settings.load import Settings
from batchseal.store.revocation_answers import StoredAnswer
from batchseal.system.futures import retrieve_failure
from batchseal.upstream import crl, ocsp
from batchseal.upstream.certification_path import CertificationPaths, der_of
from batchseal.upstream.inquiry import Inquiry
from batchseal.upstream.places import places_of
from batchseal.upstream.transport import route_of
from batchseal.upstream.trust import Roots, roots_of, signer_roots_of

# A list is in memory as a whole while it is judged.
MAX_CRL_BYTES = 16 << 20
# After a failure nobody is asked about the certificate for so long. One that was found revoked is asked about again too, since a
# suspension may end, and a responder may not know a new certificate yet.
FAILED_SECONDS, REVOKED_SECONDS, MOST_PAUSE_SECONDS = 15.0, 600.0, 600.0

log = structlog.get_logger("upstream")


class Answers(Protocol):
    """Where answers are kept (store/revocation_answers.py)."""

    async def of(self, certificate: bytes) -> StoredAnswer | None: ...

    async def keep(self, certificate: bytes, answer: StoredAnswer) -> None: ...

    async def forget(self, certificate: bytes) -> None: ...


class Kind(IntEnum):
    """The values stand in the database."""

    OCSP = 1
    CRL = 2


@dataclass(frozen=True, slots=True)
class Status:
    """An answer that a certificate was not revoked. `responder` is the certificate (DER) of its signer, None for the issuer."""

    kind: Kind
    content: bytes
    fetched_at: datetime
    until: datetime
    responder: bytes | None = None

    def is_half_over(self, now: datetime) -> bool:
        return now >= self.fetched_at + (self.until - self.fetched_at) / 2


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
    ) -> None:
        self._inquiry = inquiry
        self._paths = paths
        self._answers = answers
        self._max_age = max_age
        self._crl_embed_bytes = crl_embed_bytes
        self._failed_seconds = failed_seconds
        self._now = now
        self._known: dict[bytes, Status] = {}  # by the SHA-256 of the certificate
        self._failed: dict[bytes, tuple[float, UpstreamError]] = {}  # until when (monotonic), and why
        self._finding: dict[bytes, asyncio.Task[Status]] = {}
        self._asked = self._failures = 0

    @classmethod
    def of(cls, settings: Settings, answers: Answers) -> "Revocation":
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

        Raises CertificateRevoked, MaterialUnavailable, and MaterialImpossible if a certificate names no address or its list is
        too large to be embedded.
        """
        found = Gathered()
        for chain in chains:
            await self._gather(await self._paths.of(chain), found)
        return Material(tuple(found.certificates), tuple(found.ocsp_responses), tuple(found.crls))

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

    # --- material -----------------------------------------------------------------------------------------------------

    async def _gather(self, path: Sequence[x509.Certificate], found: "Gathered") -> None:
        found.certificates |= dict.fromkeys(map(der_of, path))
        for certificate, issuer in pairwise(path):
            status = await self._status(certificate, issuer)
            if status.kind is Kind.CRL:
                if len(status.content) > self._crl_embed_bytes:
                    raise MaterialImpossible(
                        f"the CRL for {name_of(certificate)} has {len(status.content)} bytes, more than --crl-embed-bytes"
                    )
                found.crls[status.content] = None
                continue
            found.ocsp_responses[status.content] = None
            if status.responder is not None and status.responder not in found.certificates:
                await self._gather_responder(status.responder, path, found)

    async def _gather_responder(self, responder: bytes, path: Sequence[x509.Certificate], found: "Gathered") -> None:
        """The status of a responder's certificate counts too, unless its issuer says otherwise (RFC 6960 4.2.2.2.1)."""
        found.certificates[responder] = None
        certificate = x509.load_der_x509_certificate(responder)
        places = places_of(certificate)
        if not is_checked(certificate) or not (places.ocsp or places.crls):
            return
        issuer = next(one for one in path if one.subject == certificate.issuer)
        await self._gather([certificate, issuer], found)

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
            status = await self._stored(key, certificate, issuer, renewed)
            if status is None:
                status = await self._ask(certificate, issuer)
                await self._keep(key, status)
        except UpstreamError as problem:
            self._note_failure(key, problem)
            if isinstance(problem, CertificateRevoked):
                await self._forget(key)
            raise
        self._failed.pop(key, None)
        now = self._now()
        self._known = {one: known for one, known in self._known.items() if known.until > now} | {key: status}
        return status

    def _note_failure(self, key: bytes, problem: UpstreamError) -> None:
        is_revoked = isinstance(problem, CertificateRevoked)
        # What a responder asks for comes unsigned over plain HTTP, so it is heeded up to a limit.
        asked = min(problem.retry_after_seconds or 0.0, MOST_PAUSE_SECONDS)
        pause = REVOKED_SECONDS if is_revoked else max(self._failed_seconds, asked)
        self._failed[key] = time.monotonic() + pause, problem
        if is_revoked:
            self._known.pop(key, None)
            log.error("a certificate was revoked, nothing is signed with it", cause=problem.cause)
        else:
            log.warning("nobody can say whether a certificate was revoked", cause=problem.cause)

    async def _stored(
        self, key: bytes, certificate: x509.Certificate, issuer: x509.Certificate, renewed: Status | None
    ) -> Status | None:
        """The answer that is kept, if it counts. For a renewal it must be a newer one, which another instance has got."""
        try:
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

    async def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Status:
        """Asks the places that the certificate names, until one gives an answer that counts."""
        places, problems = places_of(certificate), list[MaterialUnavailable]()
        if not (places.ocsp or places.crls):
            raise MaterialImpossible(f"{name_of(certificate)} names no OCSP responder and no CRL")
        request = ocsp.request_for(certificate, issuer)
        ways = [(partial(self._inquiry.ocsp, address, request), self._judge_ocsp) for address in places.ocsp]
        ways += [(partial(self._inquiry.file, address, MAX_CRL_BYTES), self._judge_crl) for address in places.crls]
        for ask, judge in ways:
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
        answer = ocsp.judge(content, certificate, issuer, self._now(), self._max_age)
        return Status(Kind.OCSP, answer.der, fetched_at, self._until(answer.until, fetched_at), answer.responder)

    def _judge_crl(
        self, content: bytes, certificate: x509.Certificate, issuer: x509.Certificate, fetched_at: datetime
    ) -> Status:
        until = crl.judge(content, certificate, issuer, self._now(), self._max_age)
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

    async def of(self, certificate: bytes) -> StoredAnswer | None:
        return None

    async def keep(self, certificate: bytes, answer: StoredAnswer) -> None:
        pass

    async def forget(self, certificate: bytes) -> None:
        pass


class Gathered:
    """Material while it is collected. The keys are DER, in the order in which they came."""

    def __init__(self) -> None:
        self.certificates: dict[bytes, None] = {}
        self.ocsp_responses: dict[bytes, None] = {}
        self.crls: dict[bytes, None] = {}


def all_roots(settings: Settings) -> Sequence[Roots]:
    """The roots of signers, and those of time stamp authorities where they are others."""
    of_signers = signer_roots_of(settings)
    return [of_signers] if settings.timestamp_roots == settings.signer_roots else [of_signers, roots_of(settings)]


def is_checked(responder: x509.Certificate) -> bool:
    """Whether the status of a responder's certificate counts: not if its issuer says that it need not be asked for."""
    try:
        responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except x509.ExtensionNotFound:
        return True
    return False


def digest_of(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(der_of(certificate)).digest()


def name_of(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
