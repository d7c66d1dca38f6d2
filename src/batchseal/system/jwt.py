"""JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, signed with HMAC-SHA256 and no other algorithm."""

import base64
import hmac
from dataclasses import dataclass

import msgspec

HEADER = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A token whose header names our algorithm. Nothing in it is true before `is_signed_with` says so."""

    signed: str
    claims: bytes  # JSON
    signature: bytes

    def is_signed_with(self, key: bytes) -> bool:
        return hmac.compare_digest(self.signature, mac(key, self.signed))


def issue(key: bytes, claims: object) -> str:
    """A token with these claims, which msgspec writes as a JSON object."""
    signed = encode(msgspec.json.encode(HEADER)) + "." + encode(msgspec.json.encode(claims))
    return signed + "." + encode(mac(key, signed))


def parse(token: str) -> ParsedToken | None:
    """The parts of a token, None for text that is none or that another algorithm signs."""
    signed, _, signature = token.rpartition(".")
    header, _, claims = signed.partition(".")
    try:
        if msgspec.json.decode(decode(header)) != HEADER:
            return None
        return ParsedToken(signed, decode(claims), decode(signature))
    except (ValueError, msgspec.MsgspecError):
        return None


def mac(key: bytes, signed: str) -> bytes:
    return hmac.digest(key, signed.encode(), "sha256")


def encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Raises ValueError for text that is no base64url."""
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
