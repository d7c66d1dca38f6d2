"""JSON Web Tokens with HMAC-SHA256: one form, one algorithm."""

import json
from typing import Any

import pytest

from batchseal.system import jwt

KEY = bytes(range(32))
CLAIMS = {"client_id": "Ä", "exp": 1.5}


def test_a_token_gives_its_claims_back() -> None:
    parsed = jwt.parse(jwt.issue(KEY, CLAIMS))
    assert parsed is not None and json.loads(parsed.claims) == CLAIMS
    assert parsed.is_signed_with(KEY) and not parsed.is_signed_with(KEY[::-1])


def test_the_signature_is_that_of_the_standard() -> None:
    """RFC 7515 A.1, whose header has other white space and order than ours."""
    signed = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    key = jwt.decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
    parsed = jwt.parse(signed + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert parsed is not None and parsed.is_signed_with(key)


def test_a_token_of_another_algorithm_is_none_of_ours() -> None:
    _, claims, signature = jwt.issue(KEY, CLAIMS).split(".")
    headers: list[Any] = [{"alg": "none", "typ": "JWT"}, {"alg": "RS256", "typ": "JWT"}, {"alg": "HS256"}, []]
    for header in headers:
        assert jwt.parse(f"{jwt.encode(json.dumps(header).encode())}.{claims}.{signature}") is None


@pytest.mark.parametrize(
    "text", ["", ".", "..", "opaque", "a.b.c", "é.é.é", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.!.!"]
)
def test_what_is_no_token_is_none(text: str) -> None:
    assert jwt.parse(text) is None


def test_a_changed_token_is_not_signed() -> None:
    head, _, signature = jwt.issue(KEY, CLAIMS).split(".")
    parsed = jwt.parse(f"{head}.{jwt.encode(json.dumps({**CLAIMS, 'client_id': 'B'}).encode())}.{signature}")
    assert parsed is not None and not parsed.is_signed_with(KEY)
