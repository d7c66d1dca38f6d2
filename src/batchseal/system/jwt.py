"""JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, signed with HMAC-SHA256 and no other algorithm."""

import base64
import hmac
from dataclasses import dataclass

import msgspec

HEADER = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A token whose header names our algorithm. Do not believe anything in it before `is_signed_with` has returned True."""

    signed: str
    claims: bytes  # a JSON object
    signature: bytes

    def is_signed_with(self, key: bytes) -> bool:
        """Whether the signature was made with this key. Takes the same time for every wrong signature."""
        return hmac.compare_digest(self.signature, mac(key, self.signed))


def issue(key: bytes, claims: object) -> str:
    """A signed token with these claims, which must be something that msgspec writes as a JSON object."""
    signed = encode(msgspec.json.encode(HEADER)) + "." + encode(msgspec.json.encode(claims))
    return signed + "." + encode(mac(key, signed))


def parse(token: str) -> ParsedToken | None:
    """The parts of a token. None if the text is no token, or if its header names another algorithm."""
    signed, _, signature = token.rpartition(".")
    header, _, claims = signed.partition(".")
    try:
        if msgspec.json.decode(decode(header)) != HEADER:
            return None
        return ParsedToken(signed, decode(claims), decode(signature))
    except (ValueError, RecursionError):  # anybody may have sent it
        return None


def mac(key: bytes, signed: str) -> bytes:
    """HMAC-SHA256 of the signed part of a token (RFC 7518 3.2)."""
    return hmac.digest(key, signed.encode(), "sha256")


def encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes that base64url text without padding stands for. Raises ValueError if it is no base64url."""
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
