"""The chains that a worker prepares documents for, asked from the signer and kept for a while."""

import time

import msgspec
import structlog

from batchseal.document import Credential
from batchseal.errors import BatchsealError
from batchseal.formats.cms import CmsTemplate
from batchseal.operation import Caller
from batchseal.processes.link import Link

# How long a worker trusts the chain it asked for. A chain that changed since is noticed when signing.
TRUSTED_SECONDS, WAIT_SECONDS = 60, 3

log = structlog.get_logger("service")


class Templates:
    """CMS templates by client service. A caller's own token may stand for another one each time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, tuple[float, CmsTemplate]] = {}

    async def of(self, caller: Caller) -> CmsTemplate | None:
        """None where the chain can't be had now: the documents are prepared later."""
        known = self._known.get(caller.client_service)
        if known and known[0] > time.monotonic() and caller.token is None:
            return known[1]
        try:
            asked = caller.client_service, caller.token
            answer = await self._link.call("credential", *asked, timeout_seconds=WAIT_SECONDS)
            template = CmsTemplate.cached(msgspec.convert(answer, Credential))
        except (BatchsealError, TimeoutError) as problem:
            log.info("the credential's chain cannot be had now, documents are prepared later", cause=str(problem))
            return None
        self._known[caller.client_service] = time.monotonic() + TRUSTED_SECONDS, template
        return template
