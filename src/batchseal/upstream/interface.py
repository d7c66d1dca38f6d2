"""The two sides of the upstream: what the pipeline asks for, and what a provider of signatures implements.

A provider makes single calls and raises a typed `UpstreamError`; it neither retries nor verifies nor batches: `remote`
and `lane` do that for every provider alike.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from batchseal.document import Credential
from batchseal.errors import TimestampFailed, UpstreamError
from batchseal.operation import Caller
from batchseal.upstream.state import State

# Positions in the digests that were handed in, each with its verified signature or with why there is none.
SignedPart = list[tuple[int, bytes | UpstreamError]]


class Upstream(Protocol):
    """What the pipeline sees."""

    @property
    def stamps(self) -> bool:
        """Whether time stamps can be had at all."""
        ...

    async def credential(self, caller: Caller, *, refresh: bool = False) -> Credential:
        """The caller's credential, from a cache unless `refresh`. Raises UpstreamError."""
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
        """Signs `digests`; every position comes back exactly once, in parts, as calls end.

        Signatures are verified; ECDSA is DER, RSA as long as the modulus. `budget` is how many calls each digest may
        still be in (default: the setting) and is counted down as they are made; an item whose error says `try_again` and
        that has some left is for a later `sign`. Closing the iterator drops what was not sent yet.
        """
        ...

    def announce(self, caller: Caller, fingerprint: bytes, digests: Sequence[bytes], *, request_key: str) -> None:
        """A `sign` of these digests, by the credential of that fingerprint, is likely to follow at once: what only prepares
        it may begin. Never raises; without it `sign` does the same, only later.
        """
        ...

    async def stamp(self, signatures: Sequence[bytes]) -> list[bytes | TimestampFailed]:
        """For each signature value a checked time stamp token (DER), or why there is none."""
        ...

    async def probe(self, token: str) -> str | None:
        """Whose foreign bearer token this is: None if it is not taken, "" if it is but names nobody.

        Raises UpstreamError where the upstream could not be asked.
        """
        ...

    async def health(self) -> str | None:
        """What is wrong, for a person; None if nothing is. Signs nothing."""
        ...

    async def state(self) -> State:
        """For an operator. Signs nothing."""
        ...

    async def close(self) -> None: ...


class TokenSource(Protocol):
    """Where the bearer token of one account comes from."""

    async def token(self) -> str:
        """A token that should be good now. Raises UpstreamError."""
        ...

    def reject(self, token: str) -> bool:
        """Says that `token` was answered with 401. True if a fresh one can be had."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """On whose behalf a provider is called: a client service, or a caller with a token of its own."""

    key: str  # tells accounts apart; no secret
    tokens: TokenSource = field(repr=False)
    credential_id: str | None = None
    pin_file: Path | None = None
    name: str = ""  # for people


@dataclass(frozen=True, slots=True)
class Description:
    """What an upstream says of itself, and what one call may carry."""

    name: str
    specification: str
    methods: frozenset[str]
    body_bytes: int
    asynchronous: bool = False  # answers come later
    call_digests: int | None = None  # most in one call; None: each credential says (`RemoteKey.multisign`)
    algorithms: frozenset[str] = frozenset()  # object identifiers; empty: each credential says


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """A credential and how it is used: what `Credential` leaves out because only the upstream's side needs it."""

    credential: Credential
    public_key: CertificatePublicKeyTypes = field(repr=False)
    multisign: int  # most digests in one authorization
    grant_bound: bool  # the grant is good for exactly the digests it was given for (SCAL 2)
    sign_algorithm: str  # object identifier
    digest_algorithm: str | None  # object identifier, where `sign_algorithm` does not imply it
    needs_pin: bool = False
    sign_parameters: bytes | None = None  # DER, where `sign_algorithm` needs them (PSS)


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to sign (CSC's SAD)."""

    value: str = field(repr=False)
    expires_in_seconds: float
    left: int = 0  # signatures, where it outlives its call
    ends: float = 0.0  # monotonic time


@dataclass(frozen=True, slots=True)
class Handle:
    """An answer that comes later: what to `poll` for, until `ends` (loop time)."""

    name: str
    value: Any = field(repr=False)
    digests: int
    ends: float


class SigningService(Protocol):
    """A provider of signatures. Each method is one call (or one per page), made once; all raise UpstreamError.

    The way of a call: `authorize` (or `extend`), `sign`, and where that gave a handle `poll` until there is an answer, or
    `release`. Health is what `describe` and `key` come to: none of them signs anything.
    """

    async def describe(self) -> Description: ...

    async def credentials(self, account: Account) -> list[str]:
        """Identifiers of all credentials that the account can use."""
        ...

    async def key(self, account: Account, credential_id: str) -> RemoteKey:
        """Raises CredentialUnusable for one that cannot sign."""
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
        """For `signatures` of them where the grant is to be extended for more calls, else for `digests`."""
        ...

    async def extend(self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes]) -> Grant: ...

    async def sign(
        self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes], *, request_key: str
    ) -> list[bytes] | Handle:
        """Raw signature values as they came: any number, in any order, of any worth. Or what to poll for."""
        ...

    async def poll(self, account: Account, handle: Handle) -> list[bytes] | None:
        """What `sign` would have returned; None while it is not there yet."""
        ...

    async def release(self, account: Account, handle: Handle) -> None:
        """Says that the answer is waited for no more, where the protocol has a way to say so. Never raises."""
        ...

    async def accepts(self, token: str) -> bool:
        """Whether a call that needs a token goes through with this one."""
        ...

    async def close(self) -> None: ...
