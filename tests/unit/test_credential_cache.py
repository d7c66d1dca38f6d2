"""What a worker keeps of the credentials that it prepares documents for."""

from typing import Any

import msgspec

from batchseal.document import Credential
from batchseal.operation import Caller
from batchseal.worker.credentials import CredentialCache


class OneForEachToken:
    """A `Link` to a signer that has a credential for each token of a caller, and another one for none. It counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def call(self, name: str, client_service: str, token: str | None, *, timeout_seconds: float) -> Any:
        self.calls += 1
        credential = Credential(token or "of the service", (b"certificate",), "rsa", 256, "sha256", bytes(32))
        return msgspec.to_builtins((credential, 0), builtin_types=(bytes,))


async def test_what_a_token_stands_for_is_kept_for_nobody_else() -> None:
    link: Any = OneForEachToken()
    cache = CredentialCache(link)

    async def asked(token: str | None) -> str:
        target = await cache.of(Caller("A", token))
        assert target is not None
        return target.credential.credential_id

    assert [await asked(token) for token in ("mine", None, "another", None)] == [
        *("mine", "of the service", "another", "of the service")
    ]
    assert link.calls == 3
