"""CSC v1.0.4 (Cloud Signature Consortium API) over JSON, with OAuth2 client credentials: one method, one call."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from batchseal.document import Credential
from batchseal.errors import (
    CredentialUnusable,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamError,
    UpstreamPermanent,
)
from batchseal.upstream.interface import Account, Description, Grant, RemoteKey
from batchseal.upstream.transport import JsonObject, Transport

BASE_PATH = "/csc/v1/"
BODY_BYTES = 1 << 20  # what real servers take where they say nothing
MAX_PAGES = 100
MAX_CHAIN = 10
CALL_SECONDS = 30.0
SIGN_SECONDS, SIGN_SECONDS_PER_DIGEST = 60.0, 0.05
ANSWER_BYTES, ANSWER_BYTES_PER_DIGEST = 1 << 20, 2048

RSA_ENCRYPTION, EC_PUBLIC_KEY = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
DIGEST_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
# By key type, in order of preference: the signature algorithm and the digest that it implies (RFC 8017, RFC 5758).
SIGN_OIDS = {
    "rsa": {
        "1.2.840.113549.1.1.11": "sha256",
        "1.2.840.113549.1.1.12": "sha384",
        "1.2.840.113549.1.1.13": "sha512",
    },
    "ec": {
        "1.2.840.10045.4.3.2": "sha256",
        "1.2.840.10045.4.3.3": "sha384",
        "1.2.840.10045.4.3.4": "sha512",
    },
}


class CscV1:
    """A `SigningService`. `address` is the service's base, below which /csc/v1/ lies."""

    def __init__(self, transport: Transport, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._transport = transport
        self._now = now

    async def describe(self) -> Description:
        answer = await self._transport.post(
            BASE_PATH + "info", json={}, authorization="", deadline_seconds=CALL_SECONDS
        )
        methods = answer.get("methods")
        return Description(
            name=str(answer.get("name", "")),
            specification=str(answer.get("specs", "")),
            methods=frozenset(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else frozenset(),
            body_bytes=BODY_BYTES,
        )

    async def credentials(self, account: Account) -> list[str]:
        found: list[str] = []
        body: JsonObject = {"maxResults": 100}
        for _ in range(MAX_PAGES):
            answer = await self._call(account, "credentials/list", body)
            page = answer.get("credentialIDs")
            if not isinstance(page, list) or not all(isinstance(name, str) for name in page):
                raise UpstreamPermanent("credentials/list: the answer holds no credentialIDs")
            found += [name for name in page if name not in found]
            next_page = answer.get("nextPageToken")
            if not next_page or not page:
                break
            body = {"maxResults": 100, "pageToken": next_page}
        return found

    async def key(self, account: Account, credential_id: str) -> RemoteKey:
        body = {"credentialID": credential_id, "certificates": "chain", "certInfo": False, "authInfo": True}
        answer = await self._call(account, "credentials/info", body)
        return read_key(credential_id, answer, self._now())

    async def authorize(self, account: Account, key: RemoteKey, digests: Sequence[bytes], *, request_key: str) -> Grant:
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "numSignatures": len(digests),
            "hash": encode(digests),
            "clientData": request_key,
        }
        if key.needs_pin:
            body["PIN"] = read_pin(account)
        return read_grant("credentials/authorize", await self._call(account, "credentials/authorize", body))

    async def extend(self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes]) -> Grant:
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "hash": encode(digests),
            "SAD": grant.value,
        }
        answer = await self._call(account, "credentials/extendTransaction", body)
        return read_grant("credentials/extendTransaction", answer)

    async def sign(
        self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes], *, request_key: str
    ) -> list[bytes]:
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "SAD": grant.value,
            "hash": encode(digests),
            "signAlgo": key.sign_algorithm,
            "clientData": request_key,
        }
        if key.digest_algorithm:
            body["hashAlgo"] = key.digest_algorithm
        # Made once even after a 401: each call counts as a try of every document in it.
        answer = await self._call(
            account,
            "signatures/signHash",
            body,
            calls=1,
            deadline_seconds=SIGN_SECONDS + SIGN_SECONDS_PER_DIGEST * len(digests),
            max_answer_bytes=ANSWER_BYTES + ANSWER_BYTES_PER_DIGEST * len(digests),
        )
        values = answer.get("signatures")
        if not isinstance(values, list):
            raise UpstreamPermanent("signatures/signHash: the answer holds no signatures")
        return [decode(value) for value in values[: len(digests)]]

    async def accepts(self, token: str) -> bool:
        try:
            await self._transport.post(
                BASE_PATH + "credentials/list",
                json={"maxResults": 1},
                authorization=f"Bearer {token}",
                deadline_seconds=CALL_SECONDS,
            )
        except (UpstreamAuthExpired, UpstreamAuthRefused, UpstreamPermanent):
            return False
        return True

    async def close(self) -> None:
        await self._transport.close()

    async def _call(
        self,
        account: Account,
        method: str,
        body: JsonObject,
        *,
        calls: int = 2,
        deadline_seconds: float = CALL_SECONDS,
        max_answer_bytes: int = 4 << 20,
    ) -> JsonObject:
        """A call with the account's token; after a 401 once more with a fresh one, where `calls` allows it."""
        while True:
            calls -= 1
            token = await account.tokens.token()
            try:
                return await self._transport.post(
                    BASE_PATH + method,
                    json=body,
                    authorization=f"Bearer {token}",
                    deadline_seconds=deadline_seconds,
                    max_answer_bytes=max_answer_bytes,
                )
            except UpstreamAuthExpired as problem:
                if not account.tokens.reject(token):
                    raise UpstreamAuthRefused(problem.cause) from None
                if not calls:
                    raise


def encode(digests: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(digest).decode() for digest in digests]


def decode(value: Any) -> bytes:
    """A signature value; what is not base64 becomes empty, which verifies for nothing."""
    try:
        return base64.b64decode(value)
    except (TypeError, ValueError, binascii.Error):
        return b""


def read_grant(method: str, answer: JsonObject) -> Grant:
    value, lifetime = answer.get("SAD"), answer.get("expiresIn")
    if not isinstance(value, str) or not value:
        raise UpstreamPermanent(f"{method}: the answer holds no SAD")
    return Grant(value, float(lifetime) if isinstance(lifetime, int | float) else 3600.0)


def read_pin(account: Account) -> str:
    if account.pin_file is None:
        raise CredentialUnusable("the credential needs a PIN, and the client service names no pinFile")
    try:
        return account.pin_file.read_text("utf-8").strip()
    except (OSError, ValueError) as problem:
        raise CredentialUnusable(f"the PIN cannot be read from {account.pin_file}: {type(problem).__name__}") from None


def read_key(credential_id: str, answer: JsonObject, now: datetime) -> RemoteKey:
    """What `credentials/info` says, checked. Raises CredentialUnusable, with the credential's name, for one that cannot sign."""

    def unusable(why: str) -> UpstreamError:
        return CredentialUnusable(f"credential {credential_id!r}: {why}")

    key, cert = answer.get("key"), answer.get("cert")
    key, cert = key if isinstance(key, dict) else {}, cert if isinstance(cert, dict) else {}
    if key.get("status", "enabled") != "enabled":
        raise unusable(f"its key is {key.get('status')}")
    if cert.get("status", "valid") != "valid":
        raise unusable(f"its certificate is {cert.get('status')}")
    if answer.get("authMode", "implicit") not in ("implicit", "explicit"):
        raise unusable(f"it needs a person's consent (authMode {answer.get('authMode')})")
    if presence(answer, "OTP") == "true":
        raise unusable("it needs a one-time password")
    chain = read_chain(cert.get("certificates"))
    if not chain:
        raise unusable("it has no certificate that can be read")
    certificate = x509.load_der_x509_certificate(chain[0])
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise unusable(
            f"its certificate is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}"
        )
    public_key = certificate.public_key()
    if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise unusable("its key is neither RSA nor EC")
    key_type = "rsa" if isinstance(public_key, rsa.RSAPublicKey) else "ec"
    algorithms = key.get("algo")
    chosen = choose_algorithm(
        key_type, [a for a in algorithms if isinstance(a, str)] if isinstance(algorithms, list) else []
    )
    if chosen is None:
        raise unusable(f"none of its algorithms can be used: {algorithms}")
    sign_algorithm, digest_name, digest_algorithm = chosen
    multisign = answer.get("multisign", 1)
    return RemoteKey(
        credential=Credential(
            credential_id=credential_id,
            chain=chain,
            key_type=key_type,
            signature_bytes=longest_signature(public_key),
            digest_algorithm=digest_name,
            fingerprint=hashlib.sha256(b"".join(chain)).digest(),
        ),
        public_key=public_key,
        multisign=max(1, multisign) if isinstance(multisign, int) else 1,
        grant_bound=str(answer.get("SCAL", "1")) == "2",
        sign_algorithm=sign_algorithm,
        digest_algorithm=digest_algorithm,
        needs_pin=answer.get("authMode") == "explicit" and presence(answer, "PIN") in ("true", "optional"),
    )


def presence(answer: JsonObject, name: str) -> str:
    """CSC writes these as text; some servers as a boolean."""
    entry = answer.get(name)
    return str(entry.get("presence", "false")).lower() if isinstance(entry, dict) else "false"


def read_chain(certificates: Any) -> tuple[bytes, ...]:
    """DER certificates without repetition, the signer's first; () where one cannot be read."""
    chain: list[bytes] = []
    try:
        for text in certificates[:MAX_CHAIN]:
            der = base64.b64decode(text)
            x509.load_der_x509_certificate(der).public_key()
            if der not in chain:
                chain.append(der)
    except (TypeError, ValueError):
        return ()
    return tuple(chain)


def choose_algorithm(key_type: str, offered: Sequence[str]) -> tuple[str, str, str | None] | None:
    """(signAlgo, digest name, hashAlgo where signAlgo does not imply it) for a key, from what its `algo` lists.

    A list that names only the key's own algorithm leaves the digest to us.
    """
    for oid, digest_name in SIGN_OIDS[key_type].items():
        if oid in offered:
            return oid, digest_name, None
    if key_type == "rsa" and RSA_ENCRYPTION in offered:
        return RSA_ENCRYPTION, "sha256", DIGEST_OIDS["sha256"]
    if key_type == "ec" and EC_PUBLIC_KEY in offered:
        return next(iter(SIGN_OIDS["ec"])), "sha256", DIGEST_OIDS["sha256"]
    return None


def longest_signature(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> int:
    """Bytes of the modulus, or of the longest DER `ECDSA-Sig-Value` (RFC 3279 2.2.3): two INTEGERs, sign bytes included."""
    if isinstance(key, rsa.RSAPublicKey):
        return (key.key_size + 7) // 8
    integer = key.key_size // 8 + 1  # content of an INTEGER: one bit more than the order, for the sign
    body = 2 * (2 + integer)
    return body + (2 if body < 128 else 3)
