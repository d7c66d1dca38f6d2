"""HTTP to the receivers of webhooks.

Owns the connections, which are none of the signing service's. Promises that a call ends within its time, that only hosts of
--webhook-hosts are called, that no redirect is followed, that no cookie is kept, that the client certificate for the signing
service is shown to nobody, and that no more of an answer is read than it takes to keep the connection. Never raises: an answer
without a status says why there is none.
"""

import errno
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from batchseal import __version__
from batchseal.errors import ConfigurationError
from batchseal.settings.webhooks import Webhook, refusal_of
from batchseal.upstream.transport import CONNECT_SECONDS, Route

# As many as deliveries are under way (`SenderPace.at_once`). One that waits for a connection waits within its own time: it would
# fail for receivers that hang.
MAX_CONNECTIONS = 128
# An answer is read up to here, so that its connection can be used again. What is longer ends the connection.
MAX_ANSWER_BYTES = 16 << 10
KEEP_ALIVE_SECONDS = 15.0
# The largest value of Retry-After that is read at all.
MAX_RETRY_AFTER_SECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a delivery. `status` is that of HTTP; 0: there was none, and `problem` says why."""

    status: int
    problem: str = ""
    retry_after_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def is_accepted(self) -> bool:
        return 200 <= self.status <= 299

    @property
    def is_gone(self) -> bool:
        """The receiver wants nothing any more (410)."""
        return self.status == 410

    @property
    def asks_for_a_pause(self) -> bool:
        return self.status in (429, 503)


class Receivers:
    """Posts deliveries. Must be used and closed in the same event loop.

    `hosts` and `allow_http` are the settings of these names. `route` says which proxy and which certificate authorities.
    """

    def __init__(self, route: Route, *, hosts: str, allow_http: bool, timeout_seconds: float) -> None:
        self._route = replace(route, client_certificate="")
        self._hosts = hosts
        self._allow_http = allow_http
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    def refusal_of(self, webhook: Webhook) -> str:
        """Why nothing may be sent to this address; empty if it may be."""
        return refusal_of(webhook, self._hosts, allow_http=self._allow_http)

    async def post(self, webhook: Webhook, body: bytes, headers: dict[str, str]) -> Answer:
        """Sends one delivery, once."""
        if refusal := self.refusal_of(webhook):
            return Answer(0, refusal)
        began = time.monotonic()
        answer = await self._post(webhook.url, body, headers)
        return replace(answer, seconds=time.monotonic() - began)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        proxy = self._route.proxy_for(url)
        for_proxy = self._route.authentication() if proxy else {}
        # With TLS, the proxy reads the headers of the CONNECT request; without TLS, it reads those of the call itself.
        with_call = {} if url.startswith("https:") else for_proxy
        own = {
            "Content-Type": "application/json",
            "User-Agent": f"batchseal/{__version__}",
            "Accept-Encoding": "identity",
        }
        try:
            async with self._open_session().post(
                url,
                data=body,
                headers={**own, **headers, **with_call},
                proxy=proxy,
                proxy_headers=None if with_call else for_proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds, sock_connect=CONNECT_SECONDS),
            ) as response:
                status, asked = response.status, retry_after_seconds(response.headers.get("Retry-After", ""))
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    await self._drain(response)
                return Answer(status, problem_of_status(status), asked)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            return Answer(0, self._words_for(problem))
        except ConfigurationError as problem:  # the certificate authorities cannot be read now
            return Answer(0, problem.cause)

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        """The status counts, whatever becomes of the body."""
        read = 0
        async for piece in response.content.iter_chunked(4096):
            read += len(piece)
            if read > MAX_ANSWER_BYTES:
                response.close()
                return

    def _words_for(self, problem: Exception) -> str:
        """What went wrong, without the address: it may hold a secret."""
        if isinstance(problem, TimeoutError):
            return f"no answer within {self._timeout_seconds:g} s"
        if isinstance(problem, aiohttp.ClientConnectorCertificateError):
            return f"its certificate is not trusted: {problem.certificate_error}"[:200]
        if isinstance(problem, aiohttp.ClientConnectorDNSError):
            return "its name cannot be resolved"
        if isinstance(problem, aiohttp.ClientConnectorError):
            number = problem.os_error.errno
            return f"no connection: {errno.errorcode.get(number or 0, type(problem.os_error).__name__)}"
        if isinstance(problem, aiohttp.ClientSSLError | ssl.SSLError):
            return "TLS failed"
        if isinstance(problem, aiohttp.ClientHttpProxyError):
            return f"the proxy answered {problem.status}"
        return f"the connection broke: {type(problem).__name__}"

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            options: dict[str, Any] = {"limit": MAX_CONNECTIONS, "keepalive_timeout": KEEP_ALIVE_SECONDS}
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._route.tls(), **options),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=8190,
                max_field_size=8190,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def problem_of_status(status: int) -> str:
    """Why a status is no delivery; empty for 2xx."""
    if 200 <= status <= 299:
        return ""
    return (
        f"it answered {status}, a redirect, which is not followed" if 300 <= status <= 399 else f"it answered {status}"
    )


def retry_after_seconds(text: str, now: datetime | None = None) -> float:
    """The seconds that a header Retry-After (RFC 9110 10.2.3) asks to wait; 0 if it asks for none, or cannot be read."""
    text = text.strip()[:64]
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - (now or datetime.now(UTC))).total_seconds()), MAX_RETRY_AFTER_SECONDS)
