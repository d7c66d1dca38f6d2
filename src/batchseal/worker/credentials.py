"""What a worker prepares documents for, a credential and a room for time stamps: asked from the signer, and kept for a while."""

import time
from dataclasses import dataclass

import msgspec
import structlog

from batchseal.document import Credential
from batchseal.errors import BatchsealError
from batchseal.operation import Caller
from batchseal.processes.link import Link

# How long a worker trusts what it was told. A credential that was renewed since is noticed when its documents are signed, and a
# room that has become too small before that. While the room is not known, the signer prepares the documents that need it.
TRUSTED_SECONDS, WAIT_SECONDS = 60, 3

log = structlog.get_logger("service")


@dataclass(frozen=True, slots=True)
class Target:
    """What documents are prepared for: a credential, and the room in bytes for a time stamp token (None: not known yet)."""

    credential: Credential
    time_stamp_bytes: int | None


class CredentialCache:
    """Credentials by client service. A caller with a token of its own may stand for another credential each time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, tuple[float, Target]] = {}

    async def of(self, caller: Caller) -> Target | None:
        """None where the credential cannot be had now: the documents are prepared later."""
        known = self._known.get(caller.client_service)
        if known and known[0] > time.monotonic() and caller.token is None:
            return known[1]
        try:
            asked = caller.client_service, caller.token
            answer = await self._link.call("credential", *asked, timeout_seconds=WAIT_SECONDS)
            target = Target(*msgspec.convert(answer, tuple[Credential, int | None]))
        except (BatchsealError, TimeoutError) as problem:
            log.info("the credential cannot be had now, documents are prepared later", cause=str(problem))
            return None
        if caller.token is None:
            self._known[caller.client_service] = time.monotonic() + TRUSTED_SECONDS, target
        return target
