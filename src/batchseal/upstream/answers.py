"""Every way a call fails, as a typed error: by how the connection broke, by the status, by what the answer says."""

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

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

CAUSE_CHARACTERS = 200
MAX_PLAIN_BYTES = 1000

# CSC has no code of its own for a grant that is no longer good; servers say it in words.
GRANT_ENDED = re.compile(r"\bsad\b|\bsession\b|authori[sz]ation\b.*\b(expired|ended|used)")
# What a server repeats of a request can be a token or a grant: whatever is long and no word stays out of causes.
OPAQUE = re.compile(r"[\w+/=.~-]{24,}")

JsonObject = dict[str, Any]


async def read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > max_bytes:
            raise UpstreamPermanent(f"the signing service's answer is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def connection_error(path: str, problem: Exception) -> UpstreamError:
    """Before the request was sent the call can simply be made again; after it nobody knows what was done."""
    text = f"{path}: {type(problem).__name__}"
    if isinstance(problem, aiohttp.ClientHttpProxyError):
        return UpstreamTransient(f"{text}: the outbound proxy answered {problem.status}", asked=False)
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return UpstreamTransient(f"{text}: the TLS certificate of the signing service is not trusted", asked=False)
    if isinstance(problem, aiohttp.ClientConnectorError):
        said = problem.os_error.strerror or problem.os_error
        return UpstreamTransient(f"{text}: no connection ({said})", asked=False)
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return UpstreamTransient(f"{text}: no connection in time", asked=False)
    if isinstance(problem, aiohttp.InvalidURL):
        return UpstreamPermanent(text)
    return OutcomeUnknown(f"{text}: the connection broke before the answer")


def read_answer(path: str, status: int, headers: Mapping[str, str], data: bytes) -> JsonObject:
    """The JSON object of a successful answer. Raises the UpstreamError that fits any other."""
    try:
        content = msgspec.json.decode(data) if data else {}
    except msgspec.DecodeError:
        content = None
    if status < 300:
        if not isinstance(content, dict):
            # Cut off, or from something that stands in between: the call itself may have done its work.
            raise OutcomeUnknown(f"{path}: the answer is not a JSON object")
        return content
    plain = ""
    if not isinstance(content, dict) and headers.get("Content-Type", "").startswith("text/plain"):
        plain = data[:MAX_PLAIN_BYTES].decode("utf-8", "replace").lower()
    raise error_of_answer(path, status, headers, content if isinstance(content, dict) else {}, plain)


def error_of_answer(
    path: str, status: int, headers: Mapping[str, str], content: JsonObject, plain: str = ""
) -> UpstreamError:
    """RFC 9110 15 and CSC's `{error, error_description}` as one of our errors. Text that is no JSON is read for what it means
    (some servers answer in `plain` text), and never repeated.
    """
    said = f"{content.get('error', '')}: {content.get('error_description', '')}".strip(": ")
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
    """RFC 9110 10.2.3: seconds, or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
