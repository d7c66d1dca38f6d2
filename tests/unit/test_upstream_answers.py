"""How the answers, addresses, proxy settings and tokens of an upstream are read."""

import email.utils
import time

import aiohttp
import pytest
from cryptography import x509

from batchseal.errors import (
    CallRejected,
    ConfigurationError,
    GrantExpired,
    OutcomeUnknown,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamPermanent,
    UpstreamQuotaGone,
    UpstreamRateLimited,
    UpstreamTransient,
)
from batchseal.system.backoff import LONGEST_ASKED_SECONDS
from batchseal.upstream.answers import (
    MAX_LIFETIME_SECONDS,
    connection_error,
    lifetime_seconds,
    read_answer,
    refusing,
    retry_after_seconds,
)
from batchseal.upstream.lane import pause_seconds
from batchseal.upstream.pace import DEFAULT_PACE
from batchseal.upstream.probe import is_token, name_of, read_claims
from batchseal.upstream.transport import check_address, is_exempt, proxy_address
from batchseal.upstream.wire import read_grant


@pytest.mark.parametrize(
    ("status", "body", "kind", "try_again"),
    [
        (401, b"", UpstreamAuthExpired, True),
        (403, b"<html>", UpstreamAuthRefused, False),
        (429, b"", UpstreamRateLimited, True),
        (429, b'{"error":"quota_exceeded"}', UpstreamQuotaGone, False),
        (402, b"", UpstreamQuotaGone, False),
        (500, b"", UpstreamTransient, True),
        (503, b"<html>", UpstreamTransient, True),
        (408, b"", UpstreamTransient, True),
        (501, b"", UpstreamPermanent, False),
        (302, b"", UpstreamPermanent, False),
        (101, b"{}", UpstreamPermanent, False),
        (0, b"{}", UpstreamPermanent, False),
        (400, b'{"error":"invalid_request","error_description":"Invalid parameter SAD"}', GrantExpired, True),
        (400, b'{"error":"x","error_description":"The authorization has expired"}', GrantExpired, True),
        (400, b'{"error":"invalid_request","error_description":"Missing parameter hash"}', CallRejected, False),
        (400, b"[1", CallRejected, False),
        (200, b"<html>hello</html>", OutcomeUnknown, True),
        (200, b'{"signatures":["AAAA', OutcomeUnknown, True),
        (200, b"[]", OutcomeUnknown, True),
    ],
)
def test_an_answer_that_is_none(status, body, kind, try_again):
    with pytest.raises(kind) as raised:
        read_answer("signatures/signHash", status, {}, body)
    assert type(raised.value) is kind and raised.value.try_again is try_again
    assert "signatures/signHash" in raised.value.cause and "hello" not in raised.value.cause


def test_a_good_answer():
    assert read_answer("p", 200, {}, b'{"a":1}') == {"a": 1}
    assert read_answer("p", 204, {}, b"") == {}


def test_what_a_server_repeats_of_a_request_stays_out_of_the_cause():
    token = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJlLWNhbmFyeQ"
    body = b'{"error":"invalid_request","error_description":"no such token %s here"}' % token.encode()
    with pytest.raises(UpstreamPermanent) as raised:
        read_answer("p", 400, {}, body)
    assert "no such token … here" in raised.value.cause and token[:24] not in raised.value.cause


def test_retry_after_in_both_forms():
    assert retry_after_seconds("7") == 7
    assert retry_after_seconds("86400") == LONGEST_ASKED_SECONDS
    assert retry_after_seconds(email.utils.formatdate(time.time() + 86400, usegmt=True)) == LONGEST_ASKED_SECONDS
    assert retry_after_seconds(None) is None and retry_after_seconds("soon") is None
    pause = retry_after_seconds(email.utils.formatdate(time.time() + 3000, usegmt=True))
    assert pause is not None and 2000 < pause <= 3001
    assert retry_after_seconds(email.utils.formatdate(time.time() - 30, usegmt=True)) == 0


@pytest.mark.parametrize(
    "value",
    ["9" * 5000, "1e400", "inf", "nan", "-5", "²", "٣", "1_000", "", " ", "Mon, 01 Jan 99999999999999 00:00:00 GMT",
     "Mon, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 9999 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "x" * 10_000],
)  # fmt: skip
def test_any_retry_after_is_a_pause_that_can_be_waited_for_or_none(value):
    seconds = retry_after_seconds(value)
    assert seconds is None or 0 <= seconds <= LONGEST_ASKED_SECONDS
    with pytest.raises(UpstreamTransient) as raised:
        read_answer("p", 503, {"Retry-After": value}, b"{}")
    assert raised.value.retry_after_seconds == seconds


@pytest.mark.parametrize("value", [10**400, 1e308, 2**63, 3600, 0.5, 0, -5, -(10**400), True, "3600", None, [], {}])
def test_any_lifetime_is_a_time_that_can_be_computed_with(value):
    seconds = lifetime_seconds(value, 300.0)
    assert isinstance(seconds, float) and 0 <= seconds <= MAX_LIFETIME_SECONDS
    assert seconds == 300.0 or not isinstance(value, bool | str | list | dict | None)
    assert read_grant("p", {"SAD": "x", "expiresIn": value}).expires_in_seconds >= 0


DEEP = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, DEEP, OutcomeUnknown),
        (200, b'{"a":"\xff"}', OutcomeUnknown),
        (200, b'{"expires_in":' + b"9" * 5000 + b"}", OutcomeUnknown),
        (200, b'{"a":"\\ud800"}', OutcomeUnknown),
        (400, DEEP, CallRejected),
        (400, b'{"error":' + b"[" * 300 + b"]" * 300 + b',"error_description":{"a":1}}', CallRejected),
        (503, b"\xff" * 100, UpstreamTransient),
    ],
)
def test_whatever_an_answer_holds_ends_in_a_typed_error(status, body, kind):
    with pytest.raises(kind) as raised:
        read_answer("credentials/list", status, {"Content-Type": "application/json"}, body)
    assert raised.value.cause.startswith("credentials/list: ") and len(raised.value.cause) < 300


def test_a_byte_order_mark_before_an_answer_is_ignored():
    assert read_answer("p", 200, {}, b"\xef\xbb\xbf" + b'{"a":1}') == {"a": 1}


def test_errors_of_a_connection_are_told_in_words():
    problems = [TimeoutError(), aiohttp.ServerDisconnectedError(), aiohttp.ClientPayloadError("x"), ValueError("x"),
                aiohttp.InvalidURL("x"), aiohttp.ConnectionTimeoutError(), OSError(104, "Connection reset by peer")]  # fmt: skip
    for problem in problems:
        for path in ("credentials/list", ""):
            cause = connection_error(path, problem).cause
            assert type(problem).__name__ not in cause and "Error" not in cause and not cause.startswith(":")


def test_reading_can_fail_in_any_way():
    for problem in (
        RecursionError(),
        OverflowError(),
        KeyError("x"),
        AttributeError(),
        x509.DuplicateExtension("x", x509.ObjectIdentifier("2.5.29.15")),
    ):
        with pytest.raises(UpstreamPermanent, match=r"^in words$"), refusing(UpstreamPermanent, "in words"):
            raise problem
    with pytest.raises(OutcomeUnknown, match="own"), refusing(UpstreamPermanent, "in words"):
        raise OutcomeUnknown("its own")


def test_pauses_grow_vary_and_heed_the_upstream():
    away, repeating = UpstreamTransient(), DEFAULT_PACE.repeating
    means = [sum(pause_seconds(tries, away, repeating) for _ in range(50)) / 50 for tries in (1, 2, 3, 4)]
    assert means == sorted(means) and means[0] < 0.3 and max(means) <= repeating.longest_seconds
    assert len({pause_seconds(2, away, repeating) for _ in range(10)}) > 5
    assert pause_seconds(1, UpstreamRateLimited(retry_after_seconds=11), repeating) == 11
    assert pause_seconds(1, UpstreamAuthExpired(), repeating) == 0 < pause_seconds(2, UpstreamAuthExpired(), repeating)


@pytest.mark.parametrize(
    "address", ["https://sign.example/base/", "http://127.0.0.1:8080", "http://[::1]:1/", "http://localhost"]
)
def test_addresses_that_are_taken(address):
    assert check_address(address) == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    [
        "http://sign.example",
        "ftp://sign.example",
        "https://",
        "https://u:p@sign.example",
        "https://h/?a=b",
        "http://127.0.0.1.example",
    ],
)
def test_addresses_that_are_refused(address):
    with pytest.raises(ConfigurationError):
        check_address(address)


def test_plain_http_can_be_allowed():
    assert check_address("http://sign.example/", allow_http=True) == "http://sign.example"


def test_a_proxy_needs_host_and_port():
    assert proxy_address("", 0) is None and proxy_address("", 3128) is None
    assert proxy_address("proxy", 3128) == "http://proxy:3128" and proxy_address("::1", 1) == "http://[::1]:1"
    with pytest.raises(ConfigurationError):
        proxy_address("proxy", 0)


def test_a_token_names_its_client():
    assert name_of(read_claims("e30.eyJjbGllbnRfaWQiOiAiQSJ9.sig")) == "A"
    assert name_of(read_claims("e30.eyJhenAiOiAiQiJ9.sig")) == "B"
    for opaque in ("abc", "a.b.c", "e30.W10.sig", "e30.e30.sig", "..", "é.é.é"):
        assert name_of(read_claims(opaque)) == ""
    assert is_token("a-b._~+/=") and not any(map(is_token, ("", "a b", "a\nb", "é", "x" * 20_000)))


@pytest.mark.parametrize(
    ("host", "no_proxy", "exempt"),
    [("a.example", "", False), ("a.example", "*", True), ("a.example", "example", True), ("a.example", ".example", True),
     ("a.example", "b.example, a.example:443", True), ("aexample", "example", False), ("10.0.0.1", "10.0.0.1", True),
     ("::1", "[::1]:80", True), ("a.example", "*.example", True), ("a.example", ",,", False)],
)  # fmt: skip
def test_no_proxy(host, no_proxy, exempt):
    assert is_exempt(host, no_proxy) is exempt
