"""A `SigningService` with keys on this machine: a PKCS#12 file, or a PKCS#11 token (an HSM). Such keys are "not qualified".

Owns the use of these keys; batches, verification and everything after are the same as for a remote service. Refuses callers with
bearer tokens of their own, because nobody here can tell a valid token from a false one. Leaves the library of a PKCS#11 token to
`pkcs11`, which runs it in a process of its own.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import pkcs12

from batchseal.algorithms import pss_parameters
from batchseal.errors import ConfigurationError, CredentialUnusable, UpstreamAuthRefused
from batchseal.upstream.interface import Account, Description, Grant, Handle, RemoteKey
from batchseal.upstream.keys import build_credential, usable_public_key
from batchseal.upstream.pkcs11 import Pkcs11Key
from batchseal.upstream.verify import DIGESTS, pss_scheme
from batchseal.upstream.wire import read_pin

CALL_DIGESTS = 256
FOREVER_SECONDS = 1e9  # the lifetime of a grant, which a local key does not need


class LocalKey(Protocol):
    """A private key and its certificates. `pin` unlocks it; "" if there is none."""

    @abstractmethod
    async def chain(self, pin: str) -> tuple[bytes, ...]:
        """The certificates as DER, the signer's first. Raises UpstreamError."""
        ...

    @abstractmethod
    async def sign(self, pin: str, digests: Sequence[bytes], digest_name: str, *, pss: bool) -> list[bytes]:
        """A signature value for each digest, in order. Raises UpstreamError."""
        ...

    async def close(self) -> None: ...


class Pkcs12Key:
    """A PKCS#12 file (RFC 7292). The file is read again after it, or the PIN, has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[float, str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, tuple[bytes, ...]] | None = None

    async def chain(self, pin: str) -> tuple[bytes, ...]:
        return (await asyncio.to_thread(self._load, pin))[1]

    async def sign(self, pin: str, digests: Sequence[bytes], digest_name: str, *, pss: bool) -> list[bytes]:
        def work() -> list[bytes]:
            key, digest = self._load(pin)[0], DIGESTS[digest_name]
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return [key.sign(value, ec.ECDSA(Prehashed(digest))) for value in digests]
            scheme = pss_scheme(digest) if pss else padding.PKCS1v15()
            return [key.sign(value, scheme, Prehashed(digest)) for value in digests]

        return await asyncio.to_thread(work)

    async def close(self) -> None:
        self._read = None

    def _load(self, pin: str) -> tuple[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, tuple[bytes, ...]]:
        try:
            changed = self._path.stat().st_mtime
            if self._read is None or self._read[:2] != (changed, pin):
                held = pkcs12.load_pkcs12(self._path.read_bytes(), pin.encode() or None)
                key, certificate = held.key, held.cert
                if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or certificate is None:
                    raise CredentialUnusable(f"{self._path}: holds no RSA or EC key with its certificate")
                others = [other.certificate for other in held.additional_certs]
                self._read = changed, pin, key, order_chain(certificate.certificate, others)
        except OSError as problem:
            raise CredentialUnusable(f"{self._path}: {problem.strerror}") from None
        except ValueError:
            raise CredentialUnusable(f"{self._path}: the password is wrong, or the file is not PKCS#12") from None
        return self._read[2], self._read[3]


def order_chain(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    """The chain from `leaf` upwards as DER, joined by issuer and subject names. Certificates outside it are left out."""
    chain, left = [leaf], list(others)
    while chain[-1].issuer != chain[-1].subject:
        above = next((certificate for certificate in left if certificate.subject == chain[-1].issuer), None)
        if above is None:
            break
        left.remove(above)
        chain.append(above)
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain)


class LocalKeys:
    """A `SigningService` over one key. `name` is its credential ID. With `pss`, an RSA key signs with RSASSA-PSS."""

    def __init__(self, name: str, key: LocalKey, *, pss: bool = False) -> None:
        self.name, self._key, self._pss = name, key, pss

    async def describe(self) -> Description:
        return Description(self.name, "local key, not qualified", frozenset(), 1 << 30, call_digests=CALL_DIGESTS)

    async def credentials(self, account: Account) -> list[str]:
        return [self.name]

    async def key(self, account: Account, credential_id: str) -> RemoteKey:
        refuse_foreign_token(account)
        chain = await self._key.chain(pin_of(account))
        if not chain:
            raise CredentialUnusable(f"{self.name}: there is no certificate for the key")
        public_key = usable_public_key(self.name, chain[0], datetime.now(UTC))
        pss = isinstance(public_key, rsa.RSAPublicKey) and self._pss
        large = isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.key_size > 256
        digest_name = "sha384" if large else "sha256"
        credential = build_credential(credential_id, chain, public_key, digest_name, pss=pss)
        parameters = pss_parameters(digest_name).dump() if pss else None
        return RemoteKey(credential, public_key, CALL_DIGESTS, False, "", None, False, parameters)

    async def authorize(
        self,
        account: Account,
        key: RemoteKey,
        digests: Sequence[bytes],
        *,
        request_key: str,
        signatures: int | None = None,
    ) -> Grant:
        return Grant("", FOREVER_SECONDS)

    async def extend(self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes]) -> Grant:
        return grant

    async def sign(
        self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes], *, request_key: str
    ) -> list[bytes]:
        refuse_foreign_token(account)
        pss = key.credential.scheme == "pss"
        return await self._key.sign(pin_of(account), digests, key.credential.digest_algorithm, pss=pss)

    async def poll(self, account: Account, handle: Handle) -> list[bytes] | None:
        raise AssertionError("a local key answers at once")

    async def release(self, account: Account, handle: Handle) -> None:
        """Does nothing: a local key never returns a handle."""

    async def accepts(self, token: str) -> bool:
        return False

    async def close(self) -> None:
        await self._key.close()


def refuse_foreign_token(account: Account) -> None:
    """Raises UpstreamAuthRefused for the account of a caller with a bearer token of its own."""
    if account.key.startswith("token:"):
        raise UpstreamAuthRefused("a local key signs for configured client services only")


def pin_of(account: Account) -> str:
    """The PIN of the account, "" if it names no file. Raises CredentialUnusable."""
    return read_pin(account) if account.pin_file else ""


def open_local(url: str, folder: Path, *, pss: bool) -> LocalKeys | None:
    """The local key that `url` names; None if it is an http(s) address. Raises ConfigurationError for any other scheme."""
    scheme, _, rest = url.partition(":")
    if scheme == "pkcs12":
        return LocalKeys(Path(rest).name, Pkcs12Key(Path(rest)), pss=pss)
    if scheme == "pkcs11":
        return LocalKeys("pkcs11", Pkcs11Key(url, folder / "pkcs11.lock"), pss=pss)
    if scheme not in ("http", "https"):
        raise ConfigurationError(f"--upstream-url: {scheme!r} is not one of https, pkcs12, pkcs11")
    return None
