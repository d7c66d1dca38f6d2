"""Whether the configuration names the credential of each client service whose account has several."""

import asyncio
from contextlib import suppress

from batchseal.errors import ConfigurationError, CredentialUnnamed, UpstreamError
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.upstream.interface import Upstream

# How long the start waits for the signing service to say which credentials there are.
CREDENTIALS_SECONDS = 2


async def check_credentials(upstream: Upstream, services: ClientServices) -> None:
    """Raises ConfigurationError if an account has several credentials and the client service names none of them.

    Any other problem is reported when documents are signed.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(CREDENTIALS_SECONDS):
            for service in services:
                try:
                    await upstream.credential(Caller(service.id))
                except CredentialUnnamed as problem:
                    raise ConfigurationError(f"client service {service.id}: {problem.cause}") from None
                except UpstreamError:
                    continue
