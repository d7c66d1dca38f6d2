"""The only `Upstream`. It works with any `SigningService`, and joins the other modules of this package.

Owns the cached key and the lane of each account, and the steps of a sign call: breaker, grant, call, wait for the answer, verify.
Promises that a signature which it returns was verified for its digest. All of its state is a cache, so nothing is lost with it.
Leaves batches and retries to `lane`, and the making of single calls to the provider.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from batchseal.document import CertificateEnd, Credential
from batchseal.errors import (
    CallHeldBack,
    CertificateRenewed,
    CredentialUnnamed,
    CredentialUnusable,
    TimestampFailed,
    UpstreamError,
    UpstreamQuotaGone,
    UpstreamUnavailable,
)
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.store.samples import Metric
from batchseal.system.futures import retrieve_failure
from batchseal.system.telemetry.meter import METER
from batchseal.upstream import verify
from batchseal.upstream.accounts import Accounts
from batchseal.upstream.breaker import Breaker
from batchseal.upstream.cached_key import CachedKey
from batchseal.upstream.counting import SignCall
from batchseal.upstream.credential_facts import (
    CredentialNotes,
    note_key,
    note_problem,
    numbers_of_grants,
    remarks_on_grants,
)
from batchseal.upstream.csc import csc_of
from batchseal.upstream.gate import OPEN, Gate, GateOf, gated
from batchseal.upstream.grants import Grants
from batchseal.upstream.interface import Account, RemoteKey, SignedPart, SigningService
from batchseal.upstream.kept_grants import KeptGrants
from batchseal.upstream.lane import Lane, Order
from batchseal.upstream.local import open_local
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace
from batchseal.upstream.probe import Probe
from batchseal.upstream.remarks import certificate_end, days_left, remarks_on
from batchseal.upstream.renewal import Renewal
from batchseal.upstream.revocation import Revocation
from batchseal.upstream.state import State
from batchseal.upstream.timestamps import SharedBudgets, Timestamps
from batchseal.upstream.tokens import CallersToken
from batchseal.upstream.transport import Transport, check_address, route_of
from batchseal.upstream.waiting import answer_of

log = structlog.get_logger("upstream")

KEY_SECONDS = 600.0  # a cached key is read again after this time, so that a renewed certificate is noticed
QUOTA_SECONDS = 3600.0  # how long operators are told of a quota that was used up
VERIFIED_IN_LOOP = 4  # so few signatures are verified faster than a thread is started for them
SEARCHABLE = 200  # the limit for a call, once `verify` could not find the order of the signatures in a larger one


class RemoteUpstream:
    """The `Upstream` at `settings.upstream_address`: a CSC service, or local keys. It must be created and used in one event loop.

    Raises ConfigurationError for an address or a proxy that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        services: ClientServices,
        pace: UpstreamPace = DEFAULT_PACE,
        *,
        revocation: Revocation | None = None,
        gate_of: GateOf | None = None,
        budgets: SharedBudgets | None = None,
        notes: CredentialNotes | None = None,
    ) -> None:
        """`revocation` is closed with this, and its state is part of that of this.

        `notes` has what operators see of credentials, and the grants that they give. Without it, a credential that needs a
        one-time password cannot be used.

        `gate_of` and `budgets`: where other instances may be, which make calls of the same credentials and authorities.
        """
        self._pace = pace
        self._gate_of = gate_of
        self._revocation = revocation
        local = open_local(settings.upstream_address, settings.temp_folder, pss=settings.upstream_pss)
        self._transport: Transport | None = None
        if local is None:
            address = check_address(settings.upstream_address, allow_http=settings.upstream_allow_http)
            self._transport = Transport(address, route_of(settings))
        self.service: SigningService = local or csc_of(settings, self._transport)
        self.services = services
        self.tries = settings.upstream_tries
        self._cached_keys: dict[str, CachedKey] = {}
        # If the account that is dropped has calls under way, these keep its lane alive until they end.
        self.accounts = Accounts(services, self._transport, lambda key: self._cached_keys.pop(key, None))
        self._reading: dict[str, asyncio.Task[CachedKey]] = {}
        self.breaker = Breaker(self.service.describe, pace)
        self._notes = notes
        self._kept = KeptGrants(self.service, notes) if notes is not None else None
        self._grants = Grants(self.service, pace, self._kept)
        self.renewal = Renewal(self.service, self.accounts, self._kept) if self._kept is not None else None
        self._probe = Probe(self.service)
        self._timestamps = Timestamps(settings, pace, budgets)
        self._calls = self._failed_calls = self._digests = 0
        self._call_seconds = 0.0
        self._quota_gone_at = 0.0
        self._health: tuple[float, str | None] = (0.0, None)

    async def credential(self, caller: Caller, *, refresh: bool = False) -> Credential:
        return (await self._find_key(self.accounts.of(caller), refresh=refresh)).key.credential

    async def sign(
        self,
        caller: Caller,
        credential: Credential,
        digests: Sequence[bytes],
        *,
        request_key: str,
        budget: list[int] | None = None,
    ) -> AsyncIterator[SignedPart]:
        if not digests:
            return
        try:
            cached = await self._find_key_for(self.accounts.of(caller), credential)
        except UpstreamError as problem:
            yield [(position, problem) for position in range(len(digests))]
            return
        order = Order(request_key, [self.tries] * len(digests) if budget is None else budget)
        left = len(digests)
        cached.lane.submit(order, digests)
        try:
            while left:
                part = await order.parts.get()
                left -= len(part)
                yield part
        finally:
            cached.lane.withdraw(order)

    def announce(self, caller: Caller, fingerprint: bytes, digests: Sequence[bytes], *, request_key: str) -> None:
        with contextlib.suppress(UpstreamError):
            cached = self._cached_keys.get(self.accounts.of(caller).key)
            # If calls were under way, these digests would share a call with others, and need another grant.
            if (
                cached
                and cached.lane.idle
                and cached.gate.is_open
                and cached.key.credential.fingerprint == fingerprint
                and not self.breaker.is_open
            ):
                self._grants.ask_ahead(gated(cached.account, cached.gate), cached.key, digests, request_key)

    @property
    def stamps(self) -> bool:
        return self._timestamps.configured

    async def stamp(self, imprints: Sequence[bytes]) -> list[bytes | TimestampFailed]:
        return await self._timestamps.stamp_all(imprints)

    @property
    def token_bytes(self) -> Mapping[str, int]:
        return self._timestamps.token_bytes

    async def probe(self, token: str) -> str | None:
        return await self._probe.client_service(token)

    async def health(self) -> str | None:
        checked_at, result = self._health
        if not checked_at or time.monotonic() - checked_at > self._pace.health_seconds:
            result = await self._check()
            self._health = time.monotonic(), result
        return result

    async def state(self) -> State:
        wrong, now = await self.health(), datetime.now(UTC)
        remarks, left = list[str](), list[float]()
        for cached in list(self._cached_keys.values()):
            name, credential = cached.account.name, cached.key.credential
            remarks += remarks_on(name, credential, now, local=self._transport is None)
            left.append(days_left(credential, now))
            ends = now.timestamp() + left[-1] * 86_400
            METER.set("batchseal_certificate_expiry_timestamp_seconds", credential.credential_id, value=ends)
        self._timestamps.note_budgets()
        if self._quota_gone_at and time.monotonic() - self._quota_gone_at < QUOTA_SECONDS:
            remarks.insert(0, "the quota at the signing service is used up")
        remarks += [f"{text} (a grant)" for text in self._grants.ending_soon()]
        grants = await self._kept.states() if self._kept is not None else []
        remarks = remarks_on_grants(grants) + remarks
        numbers = {
            "batchseal_upstream_up": float(wrong is None),
            "batchseal_upstream_breaker_open": float(self.breaker.is_open),
            "batchseal_upstream_breaker_opened_total": self.breaker.times_opened,
            "batchseal_upstream_sign_calls_total": self._calls,
            "batchseal_upstream_sign_calls_failed_total": self._failed_calls,
            "batchseal_upstream_digests_waiting": sum(cached.lane.waiting for cached in self._cached_keys.values()),
            "batchseal_upstream_quota_gone": float(any("quota" in text for text in remarks)),
        }
        numbers |= numbers_of_grants(grants)
        if left:
            numbers["batchseal_certificate_days_left"] = min(left)
        if self._revocation is not None:
            remarks = self._revocation.remarks() + remarks
            numbers |= self._revocation.numbers()
        return State(wrong, list(dict.fromkeys(remarks)), numbers)

    def tally(self) -> dict[Metric, float]:
        """What this process has counted since its start."""
        return {
            Metric.upstream_calls: self._calls,
            Metric.upstream_calls_failed: self._failed_calls,
            Metric.upstream_call_seconds: self._call_seconds,
            Metric.upstream_digests: self._digests,
        }

    def certificate_ends(self) -> list[CertificateEnd]:
        """When the certificates end that client services sign with, as far as they are known by now."""
        cached = [one for one in self._cached_keys.values() if one.account.name]
        return [certificate_end(one.account.name, one.key.credential) for one in cached]

    async def close(self) -> None:
        for reading in list(self._reading.values()):
            reading.cancel()
        await self.breaker.close()
        self._grants.close()
        for cached in self._cached_keys.values():
            await cached.lane.close()
        await self.service.close()
        await self._timestamps.close()
        if self._revocation is not None:
            await self._revocation.close()

    async def _check(self) -> str | None:
        """What is wrong; None if nothing is.

        All is well if the service answers, and the first active client service gets a token and has a usable credential.
        """
        try:
            if self.breaker.is_open:
                return "the signing service is down: several calls in a row have failed"
            await self.service.describe()
            for service in self.services:
                if service.active:
                    await self._find_key(self.accounts.of(Caller(service.id)))
                    break
        except UpstreamError as problem:
            return f"{problem.description()} {problem.cause}"
        return None

    async def _find_key(self, account: Account, *, refresh: bool = False) -> CachedKey:
        """The key of an account. It is read from the service if it is older than KEY_SECONDS, or if `refresh` is true.

        An older key is used, unless `refresh` is true, if the service cannot be reached. Raises UpstreamError.
        """
        cached = self._cached_keys.get(account.key)
        if cached and not refresh and time.monotonic() - cached.read_at < KEY_SECONDS:
            return cached
        reading = self._reading.get(account.key)
        if reading is None:
            reading = self._reading[account.key] = asyncio.create_task(self._refresh(account))
            reading.add_done_callback(lambda task: self._end_reading(account, task))
        try:
            # All who ask while the key is being read get the same result, even if it is an error.
            return await asyncio.shield(reading)
        except UpstreamError as problem:
            if cached is None or refresh or not problem.try_again:
                raise
            log.warning("the credential could not be read again; the cached one is used", cause=problem.cause)
            cached.read_at = time.monotonic()
            return cached

    async def _refresh(self, account: Account) -> CachedKey:
        is_noted = self._transport is None or not isinstance(account.tokens, CallersToken)
        try:
            key, cached = await self._read_key(account), self._cached_keys.get(account.key)
        except CredentialUnusable as problem:
            if self._notes is not None and is_noted:
                await note_problem(self._notes, account, problem)
            raise
        if self._notes is not None and is_noted:
            await note_key(self._notes, account, key)
        if cached is None or cached.key.credential.fingerprint != key.credential.fingerprint:
            gate = self._find_gate(account, key)
            lane = self._new_lane(account, key, gate)
            cached = self._cached_keys[account.key] = CachedKey(account, key, 0.0, lane, gate)
        cached.read_at = time.monotonic()
        return cached

    def _end_reading(self, account: Account, task: asyncio.Task[CachedKey]) -> None:
        del self._reading[account.key]
        retrieve_failure(task)

    async def _check_not_renewed(self, account: Account, credential: Credential) -> None:
        """Reads the key again. Raises CertificateRenewed if the account has another certificate now."""
        cached = await self._find_key(account, refresh=True)
        if cached.key.credential.fingerprint != credential.fingerprint:
            raise CertificateRenewed("the certificate was renewed after this document was prepared")

    async def _find_key_for(self, account: Account, credential: Credential) -> CachedKey:
        """The key for which a document was prepared. It is read again if the cached key is another. Raises CertificateRenewed."""
        cached = await self._find_key(account)
        if cached.key.credential.fingerprint != credential.fingerprint:
            await self._check_not_renewed(account, credential)
            cached = await self._find_key(account)
        return cached

    async def _read_key(self, account: Account) -> RemoteKey:
        """Raises CredentialUnnamed if the account has several credentials, or none, and the configuration names none."""
        credential_id = account.credential_id
        if credential_id is None:
            found = await self.service.credentials(account)
            if len(found) != 1:
                listed = ", ".join(found) if found else "none"
                raise CredentialUnnamed(f"credentialId must name one of the account's credentials: {listed}")
            credential_id = found[0]
        return await self.service.key(account, credential_id)

    def _find_gate(self, account: Account, key: RemoteKey) -> Gate:
        """Local keys need no turns. A caller's own token is in this process alone, so nobody else makes calls with it."""
        if self._gate_of is None or self._transport is None or isinstance(account.tokens, CallersToken):
            return OPEN
        return self._gate_of(key.credential.credential_id)

    def _new_lane(self, account: Account, key: RemoteKey, gate: Gate) -> Lane:
        """The lane of a key. Its sign call passes the breaker, and verifies what comes back."""
        lane: Lane

        async def sign_call(digests: Sequence[bytes], request_key: str) -> Sequence[bytes | None]:
            await self.breaker.enter()
            self._calls += 1
            count = SignCall(key.credential.credential_id, len(digests))
            self._digests += len(digests)
            began = time.monotonic()
            try:
                signatures = await self._call(account, key, gate, digests, request_key)
            except (CallHeldBack, UpstreamUnavailable):
                self._calls -= 1
                self._digests -= len(digests)
                raise  # nothing was sent, so this says nothing of the signing service
            except UpstreamError as problem:
                count.failed(problem)
                self._failed_calls += 1
                if isinstance(problem, UpstreamQuotaGone):
                    self._quota_gone_at = time.monotonic()
                self.breaker.record(problem)
                raise
            finally:
                self._call_seconds += time.monotonic() - began
                if self._kept is not None and key.needs_otp and (left := self._kept.left(account, key)) is not None:
                    # A call must not ask for more than its grant has; after a renewal, calls may be large again.
                    lane.limit = max(1, min(left, key.multisign, self._pace.call_digests))
            count.succeeded()
            self.breaker.record(None)
            if len(digests) <= VERIFIED_IN_LOOP:
                values = verify.match(key, digests, signatures)
            else:
                values = await asyncio.to_thread(verify.match, key, digests, signatures)
            if missing := values.count(None):
                log.warning("signatures are missing or wrong", missing=missing, of=len(digests))
                if missing == len(digests):
                    await self._check_not_renewed(account, key.credential)
                if len(signatures) == len(digests) and missing > len(digests) // 2:
                    lane.limit = min(lane.limit, SEARCHABLE)
            return values

        lane = Lane(sign_call, min(key.multisign, self._pace.call_digests), self._pace, gate)
        return lane

    async def _call(
        self, account: Account, key: RemoteKey, gate: Gate, digests: Sequence[bytes], request_key: str
    ) -> Sequence[bytes]:
        """Signs with one grant and one sign call; waits for the signatures if they come later, also after the turn is over."""
        sending = gated(account, gate)
        with METER.timed("batchseal_grant_seconds", key.credential.credential_id):
            grant = await self._grants.take(sending, key, digests, request_key)
        try:
            answer = await self.service.sign(sending, key, grant, digests, request_key=request_key)
            signatures = await answer_of(self.service, account, answer, self._pace.polling)
            self._grants.give_back(account, key, grant)
        finally:
            self._grants.done(account, key)
        return signatures
