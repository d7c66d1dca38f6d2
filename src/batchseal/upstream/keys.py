"""Reads what CSC's `credentials/info` says about a credential, checks that it can sign, and decides how it is used.

Owns the choice of the algorithms and the fingerprint of a credential; `local` builds its credentials here too. Promises that a
key from here signs without a person's consent for each call, and that its certificate is valid now. Leaves the call to `csc`. The
certificate chain is not verified.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from batchseal.algorithms import pss_parameters
from batchseal.document import Credential
from batchseal.errors import CredentialUnusable, UpstreamError
from batchseal.upstream.answers import JsonObject
from batchseal.upstream.interface import RemoteKey

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_CHAIN = 10

RSA_ENCRYPTION, EC_PUBLIC_KEY = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
DIGEST_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
# For each type of key, in order of preference: signature algorithms, and the digest that each implies (RFC 8017, RFC 5758).
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


PSS_OID = "1.2.840.113549.1.1.10"  # RSASSA-PSS, with the parameters of `algorithms.pss_parameters`


def in_v1_form(answer: JsonObject) -> JsonObject:
    """The answer in the form of v1. Where v1 has `authMode`, `PIN` and `OTP`, v2 has `auth` {mode, expression, objects}."""
    auth = answer.get("auth")
    if not isinstance(auth, dict):
        return answer
    listed = auth.get("objects")
    objects = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    kinds = {f"{entry.get('id', '')} {entry.get('type', '')}".upper() for entry in objects}
    explicit = auth.get("mode") == "explicit"
    pin = explicit and any("PIN" in kind or "PASSWORD" in kind for kind in kinds)
    otps = [
        entry for entry in objects if explicit and "OTP" in f"{entry.get('id', '')} {entry.get('type', '')}".upper()
    ]
    # One that has a generator is shown by a device (CSC v2 8.4.2); any other one is sent.
    sent = any("generator" not in entry for entry in otps)
    return {
        **answer,
        "authMode": auth.get("mode", "implicit"),
        "PIN": {"presence": str(pin).lower()},
        "OTP": {
            "presence": str(bool(otps)).lower(),
            "id": next((str(entry["id"]) for entry in otps if entry.get("id")), "OTP"),
            "type": "online" if sent else "offline",
        },
    }


def read_key(credential_id: str, answer: JsonObject, now: datetime, *, pss: bool = False) -> RemoteKey:
    """The key that an answer of `credentials/info` describes. `pss` chooses RSASSA-PSS if the key offers it beside others.

    Raises CredentialUnusable, which names the credential and the reason, if it cannot sign at the time `now`.
    """

    def unusable(why: str) -> UpstreamError:
        return CredentialUnusable(f"credential {credential_id!r}: {why}")

    answer = in_v1_form(answer)
    key, cert = answer.get("key"), answer.get("cert")
    key, cert = key if isinstance(key, dict) else {}, cert if isinstance(cert, dict) else {}
    if key.get("status", "enabled") != "enabled":
        raise unusable(f"its key is {key.get('status')}")
    if cert.get("status", "valid") != "valid":
        raise unusable(f"its certificate is {cert.get('status')}")
    if answer.get("authMode", "implicit") not in ("implicit", "explicit"):
        raise unusable(f"it needs a person's consent (authMode {answer.get('authMode')})")
    multisign = answer.get("multisign", 1)
    multisign = max(1, multisign) if isinstance(multisign, int) else 1
    grant_bound = str(answer.get("SCAL", "1")) == "2"
    needs_otp = presence(answer, "OTP") == "true"
    if needs_otp and (grant_bound or multisign == 1):
        raise unusable("it needs a one-time password for each use")
    chain = read_chain(cert.get("certificates"))
    if not chain:
        raise unusable("it has no certificate that can be read")
    public_key = usable_public_key(f"credential {credential_id!r}", chain[0], now)
    key_type = "rsa" if isinstance(public_key, rsa.RSAPublicKey) else "ec"
    listed = key.get("algo")
    algorithms = [a for a in listed if isinstance(a, str)] if isinstance(listed, list) else []
    chosen = choose_algorithm(key_type, algorithms)
    if chosen is None:
        raise unusable(f"none of its algorithms can be used: {listed}")
    sign_algorithm, digest_name, digest_algorithm = chosen
    uses_pss = key_type == "rsa" and PSS_OID in algorithms and (pss or set(algorithms) <= {PSS_OID})
    if uses_pss:
        sign_algorithm, digest_name, digest_algorithm = PSS_OID, "sha256", DIGEST_OIDS["sha256"]
    otp = answer["OTP"] if needs_otp else {}
    return RemoteKey(
        credential=build_credential(credential_id, chain, public_key, digest_name, pss=uses_pss),
        public_key=public_key,
        multisign=multisign,
        grant_bound=grant_bound,
        sign_algorithm=sign_algorithm,
        digest_algorithm=digest_algorithm,
        sign_parameters=pss_parameters(digest_name).dump() if uses_pss else None,
        needs_pin=answer.get("authMode") == "explicit" and presence(answer, "PIN") in ("true", "optional"),
        needs_otp=needs_otp,
        otp_id=str(otp.get("id", "OTP")),
        otp_is_sent=str(otp.get("type", "")).lower() == "online",
    )


def usable_public_key(name: str, leaf: bytes, now: datetime) -> PublicKey:
    """The public key of a signer's certificate (DER). Raises CredentialUnusable, with `name`, if it cannot sign at `now`."""
    certificate = x509.load_der_x509_certificate(leaf)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= now <= ends:
        raise CredentialUnusable(f"{name}: its certificate is valid from {begins} to {ends}")
    public_key = certificate.public_key()
    if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise CredentialUnusable(f"{name}: its key is neither RSA nor EC")
    return public_key


def build_credential(
    credential_id: str, chain: tuple[bytes, ...], public_key: PublicKey, digest_name: str, *, pss: bool
) -> Credential:
    """The credential of a chain: DER, the signer's certificate first. `public_key` is the key of that certificate."""
    return Credential(
        credential_id=credential_id,
        chain=chain,
        key_type="rsa" if isinstance(public_key, rsa.RSAPublicKey) else "ec",
        signature_bytes=longest_signature(public_key),
        digest_algorithm=digest_name,
        # The scheme is part of it: a document that was prepared for one scheme cannot use a signature of the other.
        fingerprint=hashlib.sha256(b"".join(chain) + (b"pss" if pss else b"")).digest(),
        scheme="pss" if pss else "",
    )


def presence(answer: JsonObject, name: str) -> str:
    """The `presence` of a PIN or an OTP, as text in lower case. CSC sends text; some servers send a boolean."""
    entry = answer.get(name)
    return str(entry.get("presence", "false")).lower() if isinstance(entry, dict) else "false"


def read_chain(certificates: Any) -> tuple[bytes, ...]:
    """The certificates as DER, without repetition, the signer's first; () if one of them cannot be read."""
    chain: list[bytes] = []
    if not isinstance(certificates, list):
        return ()
    try:
        for text in certificates[:MAX_CHAIN]:
            der = base64.b64decode(text)
            certificate = x509.load_der_x509_certificate(der)
            # These are parsed when they are asked for, which others do later.
            _ = certificate.public_key(), certificate.not_valid_before_utc, certificate.not_valid_after_utc
            if der not in chain:
                chain.append(der)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return ()
    return tuple(chain)


def choose_algorithm(key_type: str, offered: Sequence[str]) -> tuple[str, str, str | None] | None:
    """How to sign with a key: (signAlgo, name of the digest, hashAlgo). None if no offered algorithm can be used.

    `offered` is the key's `algo` list. hashAlgo is None if signAlgo implies it. If the list names only the algorithm of the key
    itself, the choice of the digest is ours.
    """
    for oid, digest_name in SIGN_OIDS[key_type].items():
        if oid in offered:
            return oid, digest_name, None
    if key_type == "rsa" and PSS_OID in offered and RSA_ENCRYPTION not in offered:
        return PSS_OID, "sha256", DIGEST_OIDS["sha256"]
    if key_type == "rsa" and RSA_ENCRYPTION in offered:
        return RSA_ENCRYPTION, "sha256", DIGEST_OIDS["sha256"]
    if key_type == "ec" and EC_PUBLIC_KEY in offered:
        return next(iter(SIGN_OIDS["ec"])), "sha256", DIGEST_OIDS["sha256"]
    return None


def longest_signature(key: PublicKey) -> int:
    """The bytes of the longest signature: of the modulus (RSA), or of the longest DER `ECDSA-Sig-Value` (RFC 3279 2.2.3)."""
    if isinstance(key, rsa.RSAPublicKey):
        return (key.key_size + 7) // 8
    integer = key.key_size // 8 + 1  # bytes of r or s: the bits of the curve order and a sign bit
    body = 2 * (2 + integer)
    return body + (2 if body < 128 else 3)
