"""Grants (CSC's SAD): one for each call, asked for with it, or a moment ahead of it.

One that outlives its call is renewed by `extendTransaction` for the next, where that is worth anything: where a grant is not
bound to its digests and is good for more of them than a call can carry. Everywhere else each call gets a grant of its own,
which also keeps a used one from being shown twice.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

from batchseal.errors import GrantExpired, UpstreamPermanent
from batchseal.system.futures import retrieve_failure
from batchseal.upstream.interface import Account, Grant, RemoteKey, SigningService

MARGIN_SECONDS = 30.0
UNUSED_GRANT_SECONDS = 2.0  # in which the call must come that a grant was asked ahead for

# Account, credential, digests.
Asked = tuple[str, str, tuple[bytes, ...]]


class Grants:
    """`call_digests` is the most that a call carries."""

    def __init__(self, service: SigningService, call_digests: int) -> None:
        self._service = service
        self._call_digests = call_digests
        self._kept: dict[tuple[str, str], list[Grant]] = {}
        self._ahead: dict[Asked, asyncio.Task[Grant]] = {}

    def ask_ahead(self, account: Account, key: RemoteKey, digests: Sequence[bytes], request_key: str) -> None:
        """For a `take` of exactly these digests that is likely to follow. One at a time: should it not follow, little is lost."""
        asked = named(account, key, digests)
        if self._ahead or not self._for_one_call(key) or len(asked[2]) > min(key.multisign, self._call_digests):
            return
        grant = self._service.authorize(account, key, asked[2], request_key=call_key(request_key, asked[2]))
        task = self._ahead[asked] = asyncio.create_task(grant)
        task.add_done_callback(retrieve_failure)
        asyncio.get_running_loop().call_later(UNUSED_GRANT_SECONDS, self._forget, asked, task)

    def close(self) -> None:
        for task in self._ahead.values():
            task.cancel()

    async def take(self, account: Account, key: RemoteKey, digests: Sequence[bytes], request_key: str) -> Grant:
        """A grant for these digests. Raises UpstreamError."""
        if (ahead := self._ahead.pop(named(account, key, digests), None)) is not None:
            return await ahead
        if self._for_one_call(key):
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

    def _for_one_call(self, key: RemoteKey) -> bool:
        return key.grant_bound or key.multisign <= self._call_digests

    def _forget(self, asked: Asked, task: asyncio.Task[Grant]) -> None:
        """The call has not come."""
        if self._ahead.get(asked) is task:
            del self._ahead[asked]

    def _find(self, account: Account, key: RemoteKey, count: int) -> Grant | None:
        now, waiting = time.monotonic(), self._kept.get((account.key, key.credential.credential_id), [])
        while waiting:
            kept = waiting.pop()
            if kept.left >= count and kept.ends > now:
                return kept
        return None


def named(account: Account, key: RemoteKey, digests: Sequence[bytes]) -> Asked:
    """Equal digests are sent once."""
    return account.key, key.credential.credential_id, tuple(dict.fromkeys(digests))


def call_key(request_key: str, digests: Sequence[bytes]) -> str:
    """The same for the same digests, so that an upstream can tell a call that is made again."""
    return f"{request_key}/{hashlib.sha256(b''.join(digests)).hexdigest()[:32]}"
