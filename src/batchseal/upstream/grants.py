"""Grants (CSC's SAD): the permission to sign, which each sign call must show.

Usually each call gets a grant of its own, requested with the call or shortly before it (`ask_ahead`). So no grant is shown twice.
A grant is kept, and renewed for the next call by `extendTransaction`, only where this saves requests: if it is not bound to its
digests, and covers more signatures than one call can carry.

Owns the grants that are kept or were requested ahead. Leaves the requests themselves to the `SigningService`, and retries to
`lane`.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

from batchseal.errors import CredentialUnusable, GrantExpired, UpstreamPermanent
from batchseal.system.futures import retrieve_failure
from batchseal.upstream.interface import Account, Grant, RemoteKey, SigningService
from batchseal.upstream.kept_grants import KeptGrants
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace

MARGIN_SECONDS = 30.0  # a kept grant is not used so shortly before it ends

# What a grant was requested for: the key of the account, the credential ID, and the digests without repetition.
GrantRequest = tuple[str, str, tuple[bytes, ...]]


class Grants:
    """The grants of all accounts at one provider."""

    def __init__(
        self, service: SigningService, pace: UpstreamPace = DEFAULT_PACE, kept: KeptGrants | None = None
    ) -> None:
        """`kept` has the grants that a person gives. Without it there are none."""
        self._service = service
        self._by_person = kept
        self._call_digests = pace.call_digests
        self._unused_seconds = pace.unused_grant_seconds
        self._kept: dict[tuple[str, str], list[Grant]] = {}
        self._ahead: dict[GrantRequest, asyncio.Task[Grant]] = {}

    def ask_ahead(self, account: Account, key: RemoteKey, digests: Sequence[bytes], request_key: str) -> None:
        """Requests a grant now, because a `take` of exactly these digests is likely to follow. Never raises.

        There is at most one such request at a time, so that little is lost if the `take` does not follow. Does nothing if a
        grant serves several calls, or if the digests do not fit into one call.
        """
        asked = request_of(account, key, digests)
        if self._ahead or not self._serves_one_call(key) or len(asked[2]) > min(key.multisign, self._call_digests):
            return
        grant = self._service.authorize(account, key, asked[2], request_key=call_key(request_key, asked[2]))
        task = self._ahead[asked] = asyncio.create_task(grant)
        task.add_done_callback(retrieve_failure)
        asyncio.get_running_loop().call_later(self._unused_seconds, self._drop_unused, asked, task)

    def close(self) -> None:
        """Cancels the requests that were made ahead."""
        for task in self._ahead.values():
            task.cancel()

    async def take(self, account: Account, key: RemoteKey, digests: Sequence[bytes], request_key: str) -> Grant:
        """A grant for these digests: requested ahead, renewed, or new. Raises UpstreamError."""
        if key.needs_otp:
            if self._by_person is None:
                raise CredentialUnusable(f"credential {key.credential.credential_id!r}: it needs a one-time password")
            return await self._by_person.take(account, key, digests)
        if (ahead := self._ahead.pop(request_of(account, key, digests), None)) is not None:
            return await ahead
        if self._serves_one_call(key):
            return await self._service.authorize(account, key, digests, request_key=request_key)
        kept = self._take_kept(account, key, len(digests))
        if kept is not None:
            try:
                grant = await self._service.extend(account, key, kept, digests)
                return replace(grant, left=kept.left - len(digests), ends=kept.ends)
            except (GrantExpired, UpstreamPermanent):
                pass  # it ended earlier than announced: request a new one
        grant = await self._service.authorize(account, key, digests, request_key=request_key, signatures=key.multisign)
        ends = time.monotonic() + grant.expires_in_seconds - MARGIN_SECONDS
        return replace(grant, left=key.multisign - len(digests), ends=ends)

    def done(self, account: Account, key: RemoteKey) -> None:
        """The call with a grant has ended, whatever came of it. Comes after `give_back`."""
        if key.needs_otp and self._by_person is not None:
            self._by_person.done(account, key)

    def give_back(self, account: Account, key: RemoteKey, grant: Grant) -> None:
        """Keeps the grant if signatures are left. Must be called only after a call that succeeded; other grants are dropped."""
        if grant.left > 0:
            self._kept.setdefault((account.key, key.credential.credential_id), []).append(grant)

    def ending_soon(self) -> list[str]:
        """One line of text for each kept grant that ends soon, for the operator, who may have to authorize again.

        Soon means that at most 60 days are left, and less than half of its lifetime. A grant for a day or less is left out.
        """
        found = []
        for (_, credential_id), kept in self._kept.items():
            for grant in kept:
                days = (grant.ends - time.monotonic()) / 86_400
                lasts = grant.expires_in_seconds / 86_400
                if lasts > 1 and days <= 60 and days < lasts / 2:
                    found.append(f"{credential_id}: ends in {max(0, int(days))} days")
        return found

    def _serves_one_call(self, key: RemoteKey) -> bool:
        """Whether a grant of this key serves one call only."""
        return not key.needs_otp and (key.grant_bound or key.multisign <= self._call_digests)

    def _drop_unused(self, asked: GrantRequest, task: asyncio.Task[Grant]) -> None:
        """Drops a grant that was requested ahead, and that no call has taken."""
        if self._ahead.get(asked) is task:
            del self._ahead[asked]

    def _take_kept(self, account: Account, key: RemoteKey, count: int) -> Grant | None:
        """Takes out a kept grant for `count` signatures; drops those before it that ended or have fewer left."""
        now, waiting = time.monotonic(), self._kept.get((account.key, key.credential.credential_id), [])
        while waiting:
            kept = waiting.pop()
            if kept.left >= count and kept.ends > now:
                return kept
        return None


def request_of(account: Account, key: RemoteKey, digests: Sequence[bytes]) -> GrantRequest:
    """What identifies a request for a grant. Equal digests count once, as in the call itself."""
    return account.key, key.credential.credential_id, tuple(dict.fromkeys(digests))


def call_key(request_key: str, digests: Sequence[bytes]) -> str:
    """The identifier of a call: the same for the same digests of a request, so that the upstream can recognise a repetition."""
    return f"{request_key}/{hashlib.sha256(b''.join(digests)).hexdigest()[:32]}"
