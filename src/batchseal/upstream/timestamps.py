"""Time stamps over digests (RFC 3161), from several time stamp authorities in order of preference.

Owns the requests, the budget of each authority (a number of requests in a number of seconds), and the pause after a failure of
an authority. Promises that each token was verified: nonce, imprint, time, signature, and a certificate for time stamps that leads
to a trusted root. Leaves HTTP to `transport`, roots to `trust`, and later tries to the caller.
"""

import asyncio
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from asn1crypto import cms, core, parser, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from batchseal.document import MAX_TIME_STAMP_BYTES
from batchseal.errors import ConfigurationError, DatabaseUnavailable, TimestampFailed, UpstreamError
from batchseal.settings.load import Settings
from batchseal.system.telemetry.meter import METER
from batchseal.upstream.answers import looks_like, refusing
from batchseal.upstream.known_tokens import CLOCK_SECONDS, IMPRINTS, KnownSigners
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace
from batchseal.upstream.transport import Route, Transport, check_address, route_of
from batchseal.upstream.trust import Roots, roots_of
from batchseal.upstream.verify import DIGESTS, verify_answer

log = structlog.get_logger("timestamp")

REQUESTS_AT_ONCE = 8  # to one authority
CALL_SECONDS = 15.0
COUNTED_AGAIN_SECONDS = 2.0  # after the common count of requests could not be read
# A TimeStampReq (RFC 3161 2.4.1) around its digest and its nonce: version 1, and the wish for certificates in the token.
REQUEST_BEFORE_IMPRINT = bytes.fromhex("3043020101") + IMPRINTS[0]
REQUEST_BEFORE_NONCE, REQUEST_AFTER_NONCE = bytes.fromhex("0208"), bytes.fromhex("0101ff")


class SharedBudgets(Protocol):
    """Counts the requests of several instances together (`store/time_stamp_budgets.py`)."""

    def is_needed(self) -> bool:
        """Whether other instances ask the authorities too."""
        ...

    async def take(self, authority: str, requests: int, seconds: float, ages: Sequence[float]) -> float:
        """Notes a request and returns 0, or returns how long to wait. `ages`: of own requests that were not noted yet."""
        ...


class Authority:
    """One time stamp authority. Its budget is `requests` requests in `seconds` seconds; 0 means no limit.

    After a failure it gets no request for `pause_seconds`. The requests of other instances count too, if `shared` says that there
    are others, or if there were within the time of the budget.
    """

    def __init__(
        self,
        address: str,
        route: Route,
        roots: Roots,
        requests: int = 0,
        seconds: float = 0.0,
        *,
        pause_seconds: float,
        shared: SharedBudgets | None = None,
    ) -> None:
        self._pause_seconds = pause_seconds
        self._shared = shared
        self._shared_until = 0.0  # the requests of others count until then
        self._unnoted: deque[float] = deque()  # when requests were sent that `shared` does not know of
        self._spent_until = 0.0  # the budget was found spent there until then
        self.address = address
        self._roots = roots
        self._known = KnownSigners()
        self._transport = Transport(address, route)
        self._requests, self._seconds = requests, seconds
        self._sent: deque[float] = deque()
        self._requests_at_once = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._paused_until = 0.0
        self.failure = ""  # the cause of the failure, while the pause after it lasts
        self.token_bytes = 0  # the longest token so far

    def allowance(self) -> str:
        """How many documents the budget allows. Level LTA takes two time stamps for each, the levels below it one."""
        if not self._requests:
            return f"{self.address} has no budget"
        documents = f"{self._requests} documents of level T or LT, or {self._requests // 2} of level LTA"
        return f"{self.address} may be asked {self._requests} times in {self._seconds:g} s: {documents}"

    def note_budget(self) -> None:
        """How many requests are left, for the metrics: as far as this instance knows, where others ask too."""
        if self._requests:
            self.wait_seconds()
            spent = self._spent_until > time.monotonic()
            left = 0 if spent else self._requests - len(self._sent)
            METER.set("batchseal_timestamp_budget_remaining", self.address, value=left)

    def wait_seconds(self) -> float:
        """The time until the next request may be sent; 0 or less: now. It has to wait for its budget, or after a failure."""
        now, wait = time.monotonic(), 0.0
        while self._sent and self._sent[0] <= now - self._seconds:
            self._sent.popleft()
        if self._requests and len(self._sent) >= self._requests:
            wait = self._sent[0] + self._seconds - now
        if wait <= 0 and self._paused_until <= now:
            self.failure = ""
        return max(wait, self._spent_until - now, self._paused_until - now)

    async def may_be_asked(self) -> bool:
        """Whether the next request may be sent, which counts from now on. Where others count too, this changes one row."""
        if self.wait_seconds() > 0:
            return False
        now = time.monotonic()
        if self._shared is not None and self._requests:
            if self._shared.is_needed():
                self._shared_until = now + self._seconds
            if now < self._shared_until:
                return await self._is_left(self._shared)
            while self._unnoted and self._unnoted[0] <= now - self._seconds:
                self._unnoted.popleft()
            self._unnoted.append(now)
        self._sent.append(now)
        return True

    async def _is_left(self, shared: SharedBudgets) -> bool:
        """The same by the common count, to which this adds what was sent before others came."""
        now = time.monotonic()
        unnoted, self._unnoted = self._unnoted, deque()
        try:
            wait = await shared.take(self.address, self._requests, self._seconds, [now - sent for sent in unnoted])
        except DatabaseUnavailable:
            self._unnoted += unnoted
            wait = COUNTED_AGAIN_SECONDS
        if wait > 0:
            self._spent_until = time.monotonic() + wait
            return False
        self._sent.append(now)
        return True

    async def stamp(self, imprint: bytes) -> bytes:
        """A verified token (DER) over the SHA-256 digest `imprint`, once `may_be_asked` has said so. Raises UpstreamError."""
        nonce = secrets.randbits(63) | 1 << 62
        try:
            async with self._requests_at_once:
                answer = await self._transport.exchange(
                    request_for(imprint, nonce),
                    "application/timestamp-query",
                    "application/timestamp-reply",
                    CALL_SECONDS,
                )
            token = self._known.token(answer, imprint, nonce)
            if token is None:
                token = await asyncio.to_thread(read_reply, answer, imprint, nonce, self._roots, self._known)
        except UpstreamError as problem:
            METER.add("batchseal_timestamps_total", self.address, "failed")
            log.warning("no time stamp", authority=self.address, cause=problem.cause)
            self.failure, self._paused_until = problem.cause, time.monotonic() + self._pause_seconds
            raise
        METER.add("batchseal_timestamps_total", self.address, "stamped")
        self.token_bytes = max(self.token_bytes, len(token))
        return token

    async def close(self) -> None:
        await self._transport.close()


class Timestamps:
    """All authorities of `settings.timestamp_urls`. Raises ConfigurationError if an entry cannot be read."""

    def __init__(
        self, settings: Settings, pace: UpstreamPace = DEFAULT_PACE, shared: SharedBudgets | None = None
    ) -> None:
        self._shared = shared
        self._pause_seconds = pace.authority_pause_seconds
        self.authorities: list[Authority] = []
        entries = settings.timestamp_urls.split()
        if entries:  # without authorities, the file of roots need not be readable
            route, roots = route_of(settings), roots_of(settings)
            self.authorities = [self._read(entry, route, roots) for entry in entries]

    @property
    def configured(self) -> bool:
        return bool(self.authorities)

    @property
    def token_bytes(self) -> dict[str, int]:
        """The longest token of each authority in this process, 0 before the first one, by address, the preferred one first."""
        return {authority.address: authority.token_bytes for authority in self.authorities}

    def _read(self, entry: str, route: Route, roots: Roots) -> Authority:
        """The authority of an entry `ADDRESS` or `ADDRESS;REQUESTS/SECONDS`. Raises ConfigurationError."""
        address, _, budget = entry.partition(";")
        check_address(address, allow_http=True)  # plain HTTP is safe, since the token is signed
        try:
            requests, seconds = budget.split("/") if budget else ("0", "0")
            budget_of = int(requests), float(seconds)
            pause = self._pause_seconds
            return Authority(address, route, roots, *budget_of, pause_seconds=pause, shared=self._shared)
        except ValueError:
            raise ConfigurationError(f"--timestamp-urls: {budget!r} is not REQUESTS/SECONDS") from None

    def allowances(self) -> list[str]:
        """For each authority how many time stamps its budget allows, and how many documents these are enough for."""
        return [authority.allowance() for authority in self.authorities]

    async def stamp_all(self, imprints: Sequence[bytes]) -> list[bytes | TimestampFailed]:
        """For each SHA-256 digest, in order: a verified token (DER), or the error that prevented it."""
        return list(await asyncio.gather(*map(self._stamp, imprints)))

    def note_budgets(self) -> None:
        for authority in self.authorities:
            authority.note_budget()

    async def close(self) -> None:
        for authority in self.authorities:
            await authority.close()

    async def _stamp(self, imprint: bytes) -> bytes | TimestampFailed:
        """Asks the authorities in turn, until one gives a token."""
        for authority in self.authorities:
            if await authority.may_be_asked():
                with suppress(UpstreamError):
                    return await authority.stamp(imprint)
        wait = max(0.0, min(authority.wait_seconds() for authority in self.authorities))
        causes = [f"{authority.address}: {authority.failure}" for authority in self.authorities if authority.failure]
        spent = f"the budget of every time stamp authority is spent for another {wait:.0f} s"
        return TimestampFailed("; ".join(causes) or spent, retry_after_seconds=wait, asked=bool(causes))


class Reply(tsp.TimeStampResp):  # type: ignore[misc]
    """A reply as RFC 3161 2.4.2 defines it. For asn1crypto, one without a token, such as a rejection, would be malformed."""

    _fields = [  # noqa: RUF012
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


def request_for(imprint: bytes, nonce: int) -> bytes:
    """The DER TimeStampReq for a token with certificates over a SHA-256 digest. The nonce has 63 bits, the first one set."""
    return REQUEST_BEFORE_IMPRINT + imprint + REQUEST_BEFORE_NONCE + nonce.to_bytes(8, "big") + REQUEST_AFTER_NONCE


def read_reply(data: bytes, imprint: bytes, nonce: int, roots: Roots, known: KnownSigners | None = None) -> bytes:
    """The verified token (a DER ContentInfo) of a reply (RFC 3161 2.4.2). CPU-bound. Raises TimestampFailed.

    What is found about the signer is added to `known`, which is for the same roots.
    """
    with refusing(TimestampFailed, f"the answer is not a time stamp reply (RFC 3161){looks_like(data)}"):
        response = Reply.load(data, strict=True)
        status, reasons = response["status"]["status"].native, response["status"]["fail_info"].native
    if status not in ("granted", "granted_with_mods"):
        raise TimestampFailed(" ".join(["the authority answered", status, *sorted(reasons or ())]))
    with refusing(TimestampFailed, "the reply cannot be used: its token is malformed"):
        token = response["time_stamp_token"]
        if isinstance(token, core.Void):
            raise TimestampFailed("the reply holds no token")
        if token["content_type"].native != "signed_data":
            raise TimestampFailed("the reply holds no token that is CMS SignedData")
        signed = token["content"]
        content = signed["encap_content_info"]["content"]
        info = content.parsed
        if not isinstance(info, tsp.TSTInfo):
            raise TimestampFailed("the token holds no TSTInfo")
        if info["nonce"].native != nonce:
            raise TimestampFailed("the token's nonce is not that of the request")
        stamped = info["message_imprint"]
        if stamped["hash_algorithm"]["algorithm"].native != "sha256" or stamped["hashed_message"].native != imprint:
            raise TimestampFailed("the token's imprint is not that of the request")
        moment = info["gen_time"].native
        if abs(moment - datetime.now(UTC)) > timedelta(seconds=CLOCK_SECONDS):
            raise TimestampFailed(f"the token's time {moment} is more than {CLOCK_SECONDS} s from ours")
        path, digest_name, pss = check_signer(signed, bytes(content), moment, roots)
        der = encoding_of(token, data)
    if len(der) > MAX_TIME_STAMP_BYTES:
        raise TimestampFailed(f"the token takes {len(der)} bytes, the limit is {MAX_TIME_STAMP_BYTES}")
    if known is not None:
        known.remember(data, path, digest_name, pss=pss)
    return der


def encoding_of(token: cms.ContentInfo, reply: bytes) -> bytes:
    """The token as it stands in the reply, or in DER if its length is indefinite.

    asn1crypto takes every length whose last byte is 0x80 for indefinite, and would encode the token anew. That takes longer, and
    sorts signed attributes which an authority has signed in another order.
    """
    inside = parser.parse(reply)[4]
    status = parser.parse(inside)
    head, contents, tail = parser.parse(inside[sum(map(len, status[3:])) :])[3:]
    return bytes(token.dump()) if tail else bytes(head + contents)


def check_signer(
    signed: cms.SignedData, content: bytes, moment: datetime, roots: Roots
) -> tuple[list[x509.Certificate], str, bool]:
    """Checks that the token has one signature, by a certificate for time stamps alone that is trusted (RFC 3161 2.3).

    `content` is the DER TSTInfo, `moment` the time in it. Returns the certificates from the signer to a root, the name of the
    digest algorithm, and whether the signature is RSASSA-PSS. Raises TimestampFailed; other errors too for a malformed token.
    """
    signers = signed["signer_infos"]
    if len(signers) != 1:
        raise TimestampFailed(f"the token has {len(signers)} signatures instead of one")
    signer = signers[0]
    sid, certificates = signer["sid"].chosen, [c.chosen for c in signed["certificates"]]
    if signer["sid"].name == "issuer_and_serial_number":
        found = [
            c for c in certificates if c.issuer == sid["issuer"] and c.serial_number == sid["serial_number"].native
        ]
    else:
        found = [c for c in certificates if c.key_identifier == sid.native]
    if not found:
        raise TimestampFailed("the token does not hold its signer's certificate")
    certificate: asn1_x509.Certificate = found[0]
    usage = certificate.extended_key_usage_value
    if usage is None or usage.native != ["time_stamping"]:
        raise TimestampFailed("the signer's certificate is not for time stamps")
    validity = certificate["tbs_certificate"]["validity"]
    if not validity["not_before"].native <= moment <= validity["not_after"].native:
        raise TimestampFailed("the signer's certificate is not valid at the token's time")
    digest_name = signer["digest_algorithm"]["algorithm"].native
    if digest_name not in DIGESTS:
        raise TimestampFailed(
            f"the token is signed with {digest_name.upper()}; only SHA-256, SHA-384 and SHA-512 are accepted"
        )
    attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
    for name in ("content_type", "message_digest"):
        if not len(attributes.get(name, ())):
            raise TimestampFailed(f"the reply cannot be used: its token has no signed attribute {name}")
    if attributes["content_type"][0].native != "tst_info":
        raise TimestampFailed("the content type in the token's attributes is not TSTInfo")
    if attributes["message_digest"][0].native != hashlib.new(digest_name, content).digest():
        raise TimestampFailed("the token's digest is not that of its content")
    if not names_signer(attributes, certificate.dump()):
        raise TimestampFailed("the token's attributes name another certificate than its signer's")
    read = x509.load_der_x509_certificate(certificate.dump())
    pss = signer["signature_algorithm"].signature_algo == "rsassa_pss"
    data = signer["signed_attrs"].untag().dump()
    try:
        verify_answer(read.public_key(), signer["signature"].native, data, DIGESTS[digest_name], pss=pss)
    except TypeError:
        raise TimestampFailed("the signer's key is neither RSA nor EC") from None
    except InvalidSignature:
        raise TimestampFailed("the token's signature does not verify") from None
    others = [x509.load_der_x509_certificate(c.dump()) for c in certificates if c is not certificate]
    path = roots.path(read, others, moment)
    if path is None:
        raise TimestampFailed(roots.no_path_from(read))
    return path, digest_name, pss


def names_signer(attributes: Mapping[str, Any], certificate: bytes) -> bool:
    """Whether the signing-certificate attributes name the signer's `certificate` (DER), or are absent.

    The first certificate in them is that of the signer (RFC 5035 3; RFC 2634 5.4.1 for the older attribute with SHA-1).
    Validators refuse a token that names another one.
    """
    digests = []
    # These are parsed from copies: asn1crypto encodes again, when the token is dumped, all that was parsed: 40 ms for each token.
    if "signing_certificate_v2" in attributes:
        named = tsp.SigningCertificateV2.load(attributes["signing_certificate_v2"][0].dump())["certs"][0]
        digests.append((named["hash_algorithm"]["algorithm"].native, named["cert_hash"].native))
    if "signing_certificate" in attributes:
        named = tsp.SigningCertificate.load(attributes["signing_certificate"][0].dump())["certs"][0]
        digests.append(("sha1", named["cert_hash"].native))
    return all(hashlib.new(name, certificate).digest() == digest for name, digest in digests)
