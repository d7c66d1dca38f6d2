"""Grants (CSC's SAD) that outlive a call: renewed by `extendTransaction` for the next one, where that is worth anything.

It is where a grant is not bound to its digests and is good for more of them than a call can carry; everywhere else each call
gets a grant of its own, which also keeps a used one from being shown twice.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from batchseal.errors import GrantExpired, UpstreamPermanent
from batchseal.upstream.interface import Account, Grant, RemoteKey, SigningService

MARGIN_SECONDS = 30.0


class Grants:
    """`call_digests` is the most that a call carries."""

    def __init__(self, service: SigningService, call_digests: int) -> None:
        self._service = service
        self._call_digests = call_digests
        self._kept: dict[tuple[str, str], list[Grant]] = {}

    async def take(self, account: Account, key: RemoteKey, digests: Sequence[bytes], request_key: str) -> Grant:
        """A grant for these digests. Raises UpstreamError."""
        if key.grant_bound or key.multisign <= self._call_digests:
            return await self._service.authorize(account, key, digests, request_key=request_key)
        kept = self._find(account, key, len(digests))
        if kept is not None:
            try:
                grant = await self._service.extend(account, key, kept, digests)
                return replace(grant, left=kept.left - len(digests), ends=kept.ends)
            except (GrantExpired, UpstreamPermanent):
                pass  # ended before its time: a new one
        grant = await self._service.authorize(account, key, digests, request_key=request_key, signatures=key.multisign)
        ends = time.monotonic() + grant.expires_in_seconds - MARGIN_SECONDS
        return replace(grant, left=key.multisign - len(digests), ends=ends)

    def give_back(self, account: Account, key: RemoteKey, grant: Grant) -> None:
        """After a call that went well; any other leaves its grant behind."""
        if grant.left > 0:
            self._kept.setdefault((account.key, key.credential.credential_id), []).append(grant)

    def ending(self) -> list[str]:
        """What is kept and near its end: for an operator, who may have to authorize anew."""
        found = []
        for (_, credential_id), kept in self._kept.items():
            for grant in kept:
                days = (grant.ends - time.monotonic()) / 86_400
                lasts = grant.expires_in_seconds / 86_400
                if lasts > 1 and days <= 60 and days < lasts / 2:
                    found.append(f"{credential_id}: ends in {max(0, int(days))} days")
        return found

    def _find(self, account: Account, key: RemoteKey, count: int) -> Grant | None:
        now, waiting = time.monotonic(), self._kept.get((account.key, key.credential.credential_id), [])
        while waiting:
            kept = waiting.pop()
            if kept.left >= count and kept.ends > now:
                return kept
        return None
