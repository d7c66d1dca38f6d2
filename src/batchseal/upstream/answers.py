"""Reads the answer of a call, and turns every failure into the `UpstreamError` that fits it.

The error depends on how the connection failed, on the HTTP status, and on what the answer says. Promises that no cause holds a
token or a grant, even if the server repeats it in its answer. An answer may hold anything: deep nesting, huge numbers, far dates.
Whatever it holds, it ends in an `UpstreamError` (`refusing`). Leaves sending to `transport` and retries to `lane`.
"""

import email.utils
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
import msgspec
import structlog

from batchseal.errors import (
    CallRejected,
    CallTooLarge,
    GrantExpired,
    OutcomeUnknown,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamError,
    UpstreamPermanent,
    UpstreamQuotaGone,
    UpstreamRateLimited,
    UpstreamTransient,
)
from batchseal.system.backoff import LONGEST_ASKED_SECONDS

log = structlog.get_logger("upstream")

CAUSE_CHARACTERS = 200
# A longer lifetime is taken for as long as this.
MAX_LIFETIME_SECONDS = 10 * 366 * 86_400.0
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # RFC 8259 8.1: a reader of JSON may ignore it
MAX_PLAIN_BYTES = 1000  # of an error in plain text: only so much is searched for known words

# CSC has no error code for a grant that is no longer valid. Servers say it in words.
GRANT_ENDED = re.compile(r"\bsad\b|\bsession\b|authori[sz]ation\b.*\b(expired|ended|used)")
# A server may repeat a token or a grant in its error text. So text like this, too long for a word, is cut out of causes.
OPAQUE = re.compile(r"[\w+/=.~-]{24,}")

JsonObject = dict[str, Any]


@contextmanager
def refusing(kind: type[UpstreamError], cause: str) -> Iterator[None]:
    """Turns whatever goes wrong while an answer is read into an error of `kind`. An UpstreamError passes unchanged.

    The libraries that read answers have errors of many classes for what is hostile in them, which no list of classes here would
    be sure to name. The log has the class at level debug.
    """
    try:
        yield
    except UpstreamError:
        raise
    except Exception as problem:
        log.debug("an answer cannot be read", cause=cause, reason=type(problem).__name__)
        raise kind(cause) from None


async def read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body of an answer. Raises UpstreamPermanent if it is larger than `max_bytes`."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > max_bytes:
            raise UpstreamPermanent(f"the answer is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def connection_error(path: str, problem: Exception) -> UpstreamError:
    """The error of a call that got no answer.

    If no connection was made, `asked` is False: the server never got the request, and the call can be made again. If the
    connection failed later, the error is OutcomeUnknown: nobody knows whether the server did the work.
    """
    text = path or "the call"
    if isinstance(problem, aiohttp.ClientHttpProxyError):
        return UpstreamTransient(f"{text}: the outbound proxy answered {problem.status}", asked=False)
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return UpstreamTransient(f"{text}: the TLS certificate of the signing service is not trusted", asked=False)
    if isinstance(problem, aiohttp.ClientConnectorError):
        said = problem.os_error.strerror or problem.os_error
        return UpstreamTransient(f"{text}: no connection ({said})", asked=False)
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return UpstreamTransient(f"{text}: no connection before the timeout", asked=False)
    if isinstance(problem, aiohttp.InvalidURL):
        return UpstreamPermanent(f"{text}: the address is not valid")
    return OutcomeUnknown(f"{text}: the connection broke or timed out before the answer was complete")


def looks_like(data: bytes) -> str:
    """What an answer seems to be instead of what was expected, for the end of a cause; "" if that cannot be told."""
    start = data[:200].removeprefix(BYTE_ORDER_MARK).lstrip().lower()
    if not start:
        return ": it is empty"
    if start.startswith(b"<"):
        return ": it looks like an HTML or XML page"
    return ": it looks like text" if start.isascii() and start.decode("ascii").isprintable() else ""


def read_answer(path: str, status: int, headers: Mapping[str, str], data: bytes) -> JsonObject:
    """The JSON object of a successful answer; {} if its body is empty. Raises the UpstreamError that fits any other answer."""
    try:
        content = msgspec.json.decode(data.removeprefix(BYTE_ORDER_MARK)) if data else {}
    except (ValueError, RecursionError):
        content = None
    if 200 <= status < 300:
        if not isinstance(content, dict):
            # The answer was cut off, or comes from a proxy in between. The server itself may have done the work.
            raise OutcomeUnknown(f"{path}: the answer is not a JSON object{looks_like(data)}")
        return content
    plain = ""
    if not isinstance(content, dict) and headers.get("Content-Type", "").startswith("text/plain"):
        plain = data[:MAX_PLAIN_BYTES].decode("utf-8", "replace").lower()
    raise error_of_answer(path, status, headers, content if isinstance(content, dict) else {}, plain)


def error_of_answer(
    path: str, status: int, headers: Mapping[str, str], content: JsonObject, plain: str = ""
) -> UpstreamError:
    """The error for an answer without success: by its status (RFC 9110 15) and by CSC's `{error, error_description}`.

    Some servers answer in plain text. `plain` is that text in lower case: it is searched for known words, and is never part of
    the cause.
    """
    words_of = [text for name in ("error", "error_description") if isinstance(text := content.get(name), str)]
    said = ": ".join(words_of).strip(": ")
    said = OPAQUE.sub("…", said)[:CAUSE_CHARACTERS]
    cause = f"{path}: {status}" + (f" {said}" if said else "")
    words, wait = said.lower() or plain, retry_after_seconds(headers.get("Retry-After"))
    if "quota" in words or status == 402:
        return UpstreamQuotaGone(cause)
    if status == 429:
        return UpstreamRateLimited(cause, retry_after_seconds=wait)
    if status == 401:
        return UpstreamAuthExpired(cause)
    if status in (403, 407):
        return UpstreamAuthRefused(cause)
    if status in (408, 425) or (status >= 500 and status != 501):
        return UpstreamTransient(cause, retry_after_seconds=wait)
    if status == 400 and GRANT_ENDED.search(words):
        return GrantExpired(cause)
    if status == 413:
        return CallTooLarge(cause)
    return CallRejected(cause, said=words) if status in (400, 422) else UpstreamPermanent(cause)


def retry_after_seconds(value: str | None) -> float | None:
    """The pause that a Retry-After header asks for (RFC 9110 10.2.3: seconds or a date), at most LONGEST_ASKED_SECONDS.

    None if it names none that can be read.
    """
    try:
        seconds = float(value) if value and re.fullmatch(r"\s*[0-9]+\s*", value) else None
        if seconds is None and value:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return None
    return None if seconds is None else min(max(0.0, seconds), LONGEST_ASKED_SECONDS)


def lifetime_seconds(value: Any, default: float) -> float:
    """A lifetime in an answer: 0 to MAX_LIFETIME_SECONDS, or `default` if `value` is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    # Compared before it is converted, since an integer may be too large for a float.
    return float(min(max(0, value), MAX_LIFETIME_SECONDS))
