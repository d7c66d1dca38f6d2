"""HTTP to the upstream: bounded calls, and every way they fail as a typed error.

Owns the connections, the outbound proxy, time-outs and the size of answers. Leaves tokens and the meaning of an answer to
others. Never follows a redirect: a bearer token goes to the configured address and nowhere else.
"""

import email.utils
import ipaddress
import re
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from batchseal.errors import (
    CallRejected,
    CallTooLarge,
    ConfigurationError,
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

MAX_CONNECTIONS = 32
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0  # without a byte; the whole call is bounded by its own deadline
CAUSE_CHARACTERS = 200

# CSC has no code of its own for a grant that is no longer good; servers say it in words.
GRANT_ENDED = re.compile(r"\bsad\b|\bsession\b|authori[sz]ation\b.*\b(expired|ended|used)")
# What a server repeats of a request can be a token or a grant: whatever is long and no word stays out of causes.
OPAQUE = re.compile(r"[\w+/=.~-]{24,}")

JsonObject = dict[str, Any]


def check_address(address: str, *, allow_http: bool = False) -> str:
    """The upstream's base address without a slash at the end. Raises ConfigurationError for plain http where it may not be."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"--service-domain: {address!r} is not an address such as https://host")
    if parts.username or parts.password:
        raise ConfigurationError("--service-domain: must not contain a user or a password")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        raise ConfigurationError("--service-domain: must be https (--upstream-allow-http allows plain http)")
    return address.rstrip("/")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy_address(host: str, port: int) -> str | None:
    """Raises ConfigurationError for half a proxy."""
    if not host:
        return None
    if not 0 < port <= 65535:
        raise ConfigurationError("--proxy-port: must be given with --proxy-hostname")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Transport:
    """POSTs to one upstream over kept-alive connections. Make it anywhere; use and close it in one event loop."""

    def __init__(self, address: str, *, proxy: str | None = None) -> None:
        self.address = address
        self.proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self,
        path: str,
        *,
        json: JsonObject | None = None,
        form: Mapping[str, str] | None = None,
        authorization: str,
        deadline_seconds: float = 30.0,
        max_answer_bytes: int = 4 << 20,
    ) -> JsonObject:
        """One call, made once. The answer is a JSON object of at most `max_answer_bytes`; all else raises UpstreamError."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if authorization:
            headers["Authorization"] = authorization
        body: bytes | Mapping[str, str] | None = form
        if json is not None:
            body, headers["Content-Type"] = msgspec.json.encode(json), "application/json"
        try:
            async with self._opened().post(
                self.address + path,
                data=body,
                headers=headers,
                proxy=self.proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=deadline_seconds, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
                ),
            ) as response:
                data = await read_bounded(response, max_answer_bytes)
                return read_answer(path, response.status, response.headers, data)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise connection_error(path, problem) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            tls = ssl.create_default_context()
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=tls, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


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
        return UpstreamTransient(f"{text}: the outbound proxy answered {problem.status}")
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return UpstreamTransient(f"{text}: the TLS certificate of the signing service is not trusted")
    if isinstance(problem, aiohttp.ClientConnectorError):
        return UpstreamTransient(f"{text}: no connection ({problem.os_error.strerror or problem.os_error})")
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return UpstreamTransient(f"{text}: no connection in time")
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
    raise error_of_answer(path, status, headers, content if isinstance(content, dict) else {})


def error_of_answer(path: str, status: int, headers: Mapping[str, str], content: JsonObject) -> UpstreamError:
    """RFC 9110 15 and CSC's `{error, error_description}` as one of our errors. Text that is no JSON is never repeated."""
    said = f"{content.get('error', '')}: {content.get('error_description', '')}".strip(": ")
    said = OPAQUE.sub("…", said)[:CAUSE_CHARACTERS]
    cause = f"{path}: {status}" + (f" {said}" if said else "")
    words, wait = said.lower(), retry_after_seconds(headers.get("Retry-After"))
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
    return CallRejected(cause) if status in (400, 422) else UpstreamPermanent(cause)


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
