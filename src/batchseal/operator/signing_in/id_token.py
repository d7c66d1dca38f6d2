"""ID tokens of OpenID Connect (Core 3.1.3.7): signature, issuer, audience, time and nonce. Keys come as JWK (RFC 7517)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from batchseal.system.jwt import decode

LEEWAY_SECONDS = 60
MOST_CHARACTERS = 100
MOST_SUBJECT_CHARACTERS = 255  # Core 2
CURVE_BYTES = 32


@dataclass(frozen=True, slots=True)
class IdToken:
    """Whom the provider has let in.

    `identity` is the subject at its issuer (Core 2): no other person ever has it. `name` is for people. It may pass from one
    person to another, so it identifies nobody (Core 5.7).
    """

    name: str
    identity: str
    groups: frozenset[str]


def read_id_token(
    text: str,
    keys: Sequence[Mapping[str, Any]],
    *,
    issuer: str,
    client: str,
    nonce: str,
    groups_claim: str,
    now: float,
) -> IdToken:
    """The token, if everything in it is right. Raises ValueError, which says what is not."""
    signed, _, signature = text.rpartition(".")
    header_text, _, claims_text = signed.partition(".")
    header = msgspec.json.decode(decode(header_text), type=dict[str, Any])
    algorithm, wanted = header.get("alg"), header.get("kid")
    fitting = [key for key in keys if wanted is None or key.get("kid") in (None, wanted)]
    if not any(is_signed(key, str(algorithm), signed.encode(), decode(signature)) for key in fitting):
        raise ValueError("no key of the provider has made its signature")
    claims = msgspec.json.decode(decode(claims_text), type=dict[str, Any])
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer or client not in audiences:
        raise ValueError("it is of another issuer, or for another client")
    if len(audiences) > 1 and claims.get("azp") != client:
        raise ValueError("it was given to another client")
    if claims.get("nonce") != nonce:
        raise ValueError("it belongs to another login")
    ends, began = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(ends, int | float) or not isinstance(began, int | float):
        raise ValueError("its times cannot be read")
    if not began - LEEWAY_SECONDS <= now < ends + LEEWAY_SECONDS:
        raise ValueError("it is over, or does not hold yet")
    groups = claims.get(groups_claim) or []
    named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return IdToken(name_in(claims), f"{subject_in(claims)} at {issuer}", frozenset(str(group) for group in named))


def subject_in(claims: Mapping[str, Any]) -> str:
    """Who it is at the provider. It is never shortened, since two could become one. Raises ValueError."""
    subject = claims.get("sub")
    if isinstance(subject, str) and 0 < len(subject) <= MOST_SUBJECT_CHARACTERS and subject.isprintable():
        return subject
    raise ValueError("it has no subject")


def name_in(claims: Mapping[str, Any]) -> str:
    """The name that people see. Raises ValueError."""
    for claim in ("preferred_username", "email", "sub"):
        name = claims.get(claim)
        if isinstance(name, str) and name and name.isprintable():
            return name[:MOST_CHARACTERS]
    raise ValueError("it names nobody")


def is_signed(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> bool:
    """Whether this key made the signature. Algorithms: RS256, PS256 and ES256 (RFC 7518 3.1). None is no algorithm."""
    digest = hashes.SHA256()
    try:
        if key.get("kty") == "RSA" and algorithm in ("RS256", "PS256"):
            salted = padding.PSS(padding.MGF1(digest), digest.digest_size)
            public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
            public.verify(signature, signed, salted if algorithm == "PS256" else padding.PKCS1v15(), digest)
            return True
        if key.get("kty") == "EC" and key.get("crv") == "P-256" and algorithm == "ES256":
            if len(signature) != 2 * CURVE_BYTES:
                return False
            point = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
            halves = (int.from_bytes(signature[:CURVE_BYTES], "big"), int.from_bytes(signature[CURVE_BYTES:], "big"))
            point.verify(encode_dss_signature(*halves), signed, ec.ECDSA(digest))
            return True
    except (InvalidSignature, KeyError, ValueError, TypeError, AttributeError):
        return False
    return False


def number(text: str) -> int:
    return int.from_bytes(decode(text), "big")
