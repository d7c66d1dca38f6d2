"""The two sides of the upstream: `Upstream`, which the pipeline calls, and `SigningService`, which each provider implements.

Owns these protocols and the types that they exchange; it holds no behaviour. A provider makes single calls and raises a typed
`UpstreamError`. It does not batch, verify or retry sign calls: `remote` and `lane` do so for all providers.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from batchseal.document import Credential
from batchseal.errors import TimestampFailed, UpstreamError
from batchseal.operation import Caller
from batchseal.upstream.state import State

# Pairs of a position in the digests that were given, and the verified signature or the error that ended this digest.
SignedPart = list[tuple[int, bytes | UpstreamError]]


class Upstream(Protocol):
    """The signing service as the pipeline sees it: it signs digests with the credential of a caller."""

    @property
    def stamps(self) -> bool:
        """Whether a time stamp authority is configured."""
        ...

    async def credential(self, caller: Caller, *, refresh: bool = False) -> Credential:
        """The caller's credential. It may come from a cache, unless `refresh` is true. Raises UpstreamError."""
        ...

    def sign(
        self,
        caller: Caller,
        credential: Credential,
        digests: Sequence[bytes],
        *,
        request_key: str,
        budget: list[int] | None = None,
    ) -> AsyncIterator[SignedPart]:
        """Signs `digests`. The results come in parts, whenever a call has ended; each position comes exactly once.

        The signatures are verified. An ECDSA signature is DER; an RSA signature is as long as the modulus. `budget` says for
        each digest in how many more calls it may be sent (default: `Settings.upstream_tries`). The list is changed: each call
        lowers the numbers of its digests. If an error has `try_again` set and budget is left, the digest can be given to a
        later `sign`. Closing the iterator drops the digests that were not sent yet.
        """
        ...

    def announce(self, caller: Caller, fingerprint: bytes, digests: Sequence[bytes], *, request_key: str) -> None:
        """Says that a `sign` of these digests is likely to follow at once, with the credential of that fingerprint.

        The upstream may begin to prepare that call. Without this, `sign` makes the same preparations later. Never raises.
        """
        ...

    async def stamp(self, imprints: Sequence[bytes]) -> list[bytes | TimestampFailed]:
        """For each SHA-256 digest, in order: a verified time stamp token (DER), or the error that prevented it."""
        ...

    @property
    def token_bytes(self) -> Mapping[str, int]:
        """The longest token in bytes that each authority has given to this process, by its address; 0 before the first one."""
        ...

    async def probe(self, token: str) -> str | None:
        """The name of the client that a caller's own bearer token belongs to.

        "" if the upstream accepts the token but it names nobody; None if the token is refused. Raises UpstreamError if the
        upstream could not be asked.
        """
        ...

    async def health(self) -> str | None:
        """What is wrong with the upstream, as text for a person; None if nothing is wrong. Signs nothing."""
        ...

    async def state(self) -> State:
        """The state of the upstream, for an operator. Signs nothing."""
        ...

    async def close(self) -> None: ...


class TokenSource(Protocol):
    """Gives the bearer token of one account."""

    async def token(self) -> str:
        """A token that should be valid now. Raises UpstreamError if none can be had."""
        ...

    def reject(self, token: str) -> bool:
        """Reports that the server answered 401 to `token`. Returns whether a fresh token can be had."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """For whom a provider is called: a client service, or a caller with a bearer token of its own."""

    key: str
    """Identifies the account. Holds no secret."""
    tokens: TokenSource = field(repr=False)
    credential_id: str | None = None
    """The credential to sign with; None if the account has only one."""
    pin_file: Path | None = None
    """The file with the PIN of the credential, where it needs one."""
    name: str = ""
    """The name of the client service, for logs and operators."""
    secret: str = field(default="", repr=False)
    """Its secret, from which the key of what is kept for it comes."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a signing service says about itself, and how much one call may carry."""

    name: str
    specification: str
    """The version of the API that it speaks."""
    methods: frozenset[str]
    body_bytes: int
    """The largest body of a request."""
    asynchronous: bool = False
    """Whether signatures must be polled for."""
    call_digests: int | None = None
    """The largest number of digests in one call. None: each credential says so (`RemoteKey.multisign`)."""
    algorithms: frozenset[str] = frozenset()
    """Object identifiers of signature algorithms. Empty: each credential says so."""


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """A credential, and how to make sign calls with it. Only the upstream needs the latter; `Credential` leaves it out."""

    credential: Credential
    public_key: CertificatePublicKeyTypes = field(repr=False)
    multisign: int
    """The largest number of digests in one authorization."""
    grant_bound: bool
    """Whether a grant is valid for exactly the digests that it was requested for (SCAL 2)."""
    sign_algorithm: str
    """Object identifier."""
    digest_algorithm: str | None
    """Object identifier; None if `sign_algorithm` implies it."""
    needs_pin: bool = False
    sign_parameters: bytes | None = None
    """DER parameters, where `sign_algorithm` needs them (PSS)."""
    needs_otp: bool = False
    """Whether a grant needs a one-time password, so that a person must ask for it. Such a grant serves many calls."""
    otp_id: str = "OTP"
    """How the signing service calls the one-time password (CSC v2)."""
    otp_is_sent: bool = False
    """Whether the signing service sends the one-time password when it is asked to. Otherwise a device shows it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission to sign (CSC's SAD: signature activation data)."""

    value: str = field(repr=False)
    expires_in_seconds: float
    left: int = 0
    """The signatures that are left for later calls; 0 if the grant serves one call only."""
    ends: float = 0.0
    """When a kept grant must no longer be used, by `time.monotonic()`."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Stands for an answer that comes later: `poll` asks for it."""

    name: str
    """The name that the server gave to `value`."""
    value: Any = field(repr=False)
    digests: int
    """The number of digests in the call."""
    ends: float
    """When to stop polling, by the time of the event loop."""


class SigningService(Protocol):
    """A provider of signatures. Each method makes one call (`credentials`: one for each page), and raises UpstreamError.

    To sign: `authorize` (or `extend`), then `sign`. If `sign` returned a handle, `poll` until the answer is there, or `release`
    the handle. `describe` and `key` sign nothing; they serve to check the health of the service.
    """

    async def describe(self) -> Description:
        """What the service says about itself. Needs no account."""
        ...

    async def credentials(self, account: Account) -> list[str]:
        """The IDs of all credentials that the account can use."""
        ...

    async def key(self, account: Account, credential_id: str) -> RemoteKey:
        """The key of a credential. Raises CredentialUnusable if it cannot sign."""
        ...

    async def authorize(
        self,
        account: Account,
        key: RemoteKey,
        digests: Sequence[bytes],
        *,
        request_key: str,
        signatures: int | None = None,
    ) -> Grant:
        """A grant for `digests`; for `signatures` signatures in all if it will be extended for further calls."""
        ...

    async def extend(self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes]) -> Grant:
        """A grant for further `digests`, in place of `grant`, which must not be used any more."""
        ...

    async def sign(
        self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes], *, request_key: str
    ) -> list[bytes] | Handle:
        """The signature values as the server sent them, or a handle to poll for.

        The values are not verified: their number and order may be wrong, and any of them may be invalid.
        """
        ...

    async def poll(self, account: Account, handle: Handle) -> list[bytes] | None:
        """The signature values, as from `sign`; None while they are not ready."""
        ...

    async def release(self, account: Account, handle: Handle) -> None:
        """Tells the server that nobody waits for this answer any more, if the protocol can say so. Never raises."""
        ...

    async def accepts(self, token: str) -> bool:
        """Whether the service accepts this bearer token in a call that needs one."""
        ...

    async def close(self) -> None: ...
