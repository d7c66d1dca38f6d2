"""Which credential a worker prepares documents for: asked from the signer, and kept for a while."""

import time

import msgspec
import structlog

from batchseal.document import Credential
from batchseal.errors import BatchsealError
from batchseal.operation import Caller
from batchseal.processes.link import Link

# How long a worker trusts a credential. One that was renewed since is noticed when its documents are signed.
TRUSTED_SECONDS, WAIT_SECONDS = 60, 3

log = structlog.get_logger("service")


class CredentialCache:
    """Credentials by client service. A caller with a token of its own may stand for another credential each time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, tuple[float, Credential]] = {}

    async def of(self, caller: Caller) -> Credential | None:
        """None where the credential cannot be had now: the documents are prepared later."""
        known = self._known.get(caller.client_service)
        if known and known[0] > time.monotonic() and caller.token is None:
            return known[1]
        try:
            asked = caller.client_service, caller.token
            answer = await self._link.call("credential", *asked, timeout_seconds=WAIT_SECONDS)
            credential = msgspec.convert(answer, Credential)
        except (BatchsealError, TimeoutError) as problem:
            log.info("the credential cannot be had now, documents are prepared later", cause=str(problem))
            return None
        self._known[caller.client_service] = time.monotonic() + TRUSTED_SECONDS, credential
        return credential
