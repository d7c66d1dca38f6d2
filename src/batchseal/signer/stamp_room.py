"""How much room documents get for the time stamp that comes after their signature.

The room is part of what is signed, so it is chosen before anybody has seen the token. It follows from the longest token that an
authority has given so far, with a margin, and is kept in the database. Where nothing is known of any authority, one token is
asked for: once for all instances and for good, since authorities give few tokens to a customer. If that token cannot be had,
documents get the room that used to be enough, until the first real token tells more.
"""

import asyncio
import secrets

import structlog

from batchseal.document import DEFAULT_TIME_STAMP_BYTES, MAX_TIME_STAMP_BYTES, Prepared, ToSign
from batchseal.errors import DatabaseUnavailable, TimestampFailed
from batchseal.signature import Level
from batchseal.store.time_stamp_sizes import TimeStampSizes
from batchseal.upstream.interface import Upstream

# A token gets longer when the authority changes its keys or its chain: a certificate with a larger key adds some hundred bytes.
LEAST_MARGIN_BYTES = 2048
MARGIN = 4  # a fourth of the longest token

log = structlog.get_logger("timestamp")


def room_for(token_bytes: int) -> int:
    """The room in bytes for tokens of which the longest so far had `token_bytes`. 0 means that none is known."""
    if token_bytes == 0:
        return DEFAULT_TIME_STAMP_BYTES
    return min(token_bytes + max(LEAST_MARGIN_BYTES, token_bytes // MARGIN), MAX_TIME_STAMP_BYTES)


class StampRoom:
    """One for each signer process. `sizes` is what all instances have learned, `upstream` what this one sees."""

    def __init__(self, sizes: TimeStampSizes, upstream: Upstream) -> None:
        self._sizes = sizes
        self._upstream = upstream
        self._known: dict[str, int] | None = None  # None: not read from the database yet
        self._unsaved: dict[str, int] = {}
        self._asking = asyncio.Lock()

    @property
    def longest(self) -> int:
        """The longest token in bytes that an authority has given, as far as this process knows."""
        return max((self._known or {}).values(), default=0)

    def fits(self, item: ToSign | Prepared) -> bool:
        """Whether a document that was prepared, perhaps long ago, has room for a token like those that came since."""
        return item.level is Level.B or item.time_stamp_bytes >= self.longest

    async def known(self) -> int | None:
        """The room in bytes, for a worker that prepares documents. None while nothing is known: then the signer prepares them.

        0 if there are no time stamps.
        """
        if not self._upstream.stamps:
            return 0
        try:
            known = await self._read()
        except DatabaseUnavailable:
            return None
        return self._room(known) if known else None

    async def find(self) -> int:
        """The same. Where nothing is known, asks an authority for a token first. Raises DatabaseUnavailable."""
        if not self._upstream.stamps:
            return 0
        async with self._asking:
            known = await self._read()
            if not known:
                known = await self._try()
        return self._room(known)

    async def learn(self) -> None:
        """Keeps what the tokens that have come since the last time tell. Never raises."""
        seen, known = self._upstream.token_bytes, self._known or {}
        grown = {authority: size for authority, size in seen.items() if size > known.get(authority, 0)}
        if grown:
            self._known = known | grown
            self._unsaved |= grown
            log.info("time stamps are longer than those before", token_bytes=grown)
        if self._unsaved:
            try:
                await self._sizes.note(self._unsaved)
                self._unsaved = {}
            except DatabaseUnavailable as problem:
                log.info("the length of time stamps is stored later", cause=problem.cause)

    def _room(self, known: dict[str, int]) -> int:
        """An authority of which nothing is known may step in for another one, so each counts."""
        return max(room_for(known.get(authority, 0)) for authority in self._upstream.token_bytes)

    async def _read(self) -> dict[str, int]:
        # Another instance may have learned more meanwhile, which matters while this one knows nothing.
        if not self._known or not any(self._known.values()):
            self._known = await self._sizes.of(list(self._upstream.token_bytes)) | self._unsaved
        return self._known

    async def _try(self) -> dict[str, int]:
        """Asks for one token over random data, unless another instance does."""
        authorities = list(self._upstream.token_bytes)
        if await self._sizes.claim_trial(authorities):
            (answer,) = await self._upstream.stamp([secrets.token_bytes(32)])
            if isinstance(answer, TimestampFailed):
                log.info("the length of time stamps is learned from the first one", cause=answer.cause)
            await self.learn()
        self._known = await self._sizes.of(authorities) | (self._known or {})
        return self._known
