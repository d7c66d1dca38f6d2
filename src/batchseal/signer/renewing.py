"""What workers may ask the signer about grants that a person gives: the operator's page renews them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from batchseal.errors import CredentialUnusable
from batchseal.processes.link import Handler
from batchseal.upstream.remote import RemoteUpstream
from batchseal.upstream.renewal import Renewal


def renewal_handlers(upstream: RemoteUpstream) -> Mapping[str, Handler]:
    """`renewal_needs`, `send_otp` and `renew_grant`. Each takes the name of a client service first.

    The one-time password and the PIN come over the link, are used once, and are kept nowhere.
    """

    def renewal() -> Renewal:
        if upstream.renewal is None:
            raise CredentialUnusable("grants are not kept here")
        return upstream.renewal

    async def renewal_needs(client_service: str) -> Any:
        return msgspec.to_builtins(await renewal().needs(client_service))

    async def send_otp(client_service: str) -> None:
        await renewal().send_otp(client_service)

    async def renew_grant(client_service: str, otp: str, pin: str) -> Any:
        return msgspec.to_builtins(await renewal().renew(client_service, otp, pin))

    return {"renewal_needs": renewal_needs, "send_otp": send_otp, "renew_grant": renew_grant}
