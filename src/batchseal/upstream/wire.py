"""The fields of CSC requests and answers: digests, signatures, grants and the PIN.

Promises that an answer without the expected field raises an `UpstreamError`. Leaves the calls to `csc`, and the verification of
signatures to `verify`.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from batchseal.errors import CredentialUnusable, UpstreamPermanent
from batchseal.upstream.answers import JsonObject, lifetime_seconds
from batchseal.upstream.interface import Account, Grant

GRANT_SECONDS = 3600.0  # the lifetime of a grant if the answer does not say


def encode(digests: Sequence[bytes]) -> list[str]:
    """Digests in base64, as CSC wants them."""
    return [base64.b64encode(digest).decode() for digest in digests]


def encode_for_urls(digests: Sequence[bytes]) -> list[str]:
    """Digests in base64 and then percent-encoded, as some servers want them."""
    return [quote(text, safe="") for text in encode(digests)]


def decode(value: Any) -> bytes:
    """A signature value. Text that is not base64 becomes b"", which is no valid signature."""
    try:
        return base64.b64decode(value)
    except (TypeError, ValueError, binascii.Error):
        return b""


def read_signatures(method: str, values: Any, digests: int) -> list[bytes]:
    """At most `digests` signature values. Raises UpstreamPermanent if there is no list of them."""
    if not isinstance(values, list):
        raise UpstreamPermanent(f"{method}: the answer holds no signatures")
    return [decode(value) for value in values[:digests]]


def read_grant(method: str, answer: JsonObject) -> Grant:
    """The grant in an answer. Raises UpstreamPermanent if there is none."""
    value, lifetime = answer.get("SAD"), answer.get("expiresIn")
    if not isinstance(value, str) or not value:
        raise UpstreamPermanent(f"{method}: the answer holds no SAD")
    return Grant(value, lifetime_seconds(lifetime, GRANT_SECONDS))


def read_pin(account: Account) -> str:
    """The PIN in the file of the account. Raises CredentialUnusable."""
    if account.pin_file is None:
        raise CredentialUnusable("the credential needs a PIN, and the client service names no pinFile")
    try:
        return account.pin_file.read_text("utf-8").strip()
    except OSError as problem:
        raise CredentialUnusable(f"the PIN cannot be read from {account.pin_file}: {problem.strerror}") from None
    except ValueError:
        raise CredentialUnusable(f"the PIN in {account.pin_file} is not text in UTF-8") from None
