"""HTTP to the signing service and to time stamp authorities.

Owns the connections, the outbound proxy, TLS, the timeouts and the limits for the size of answers. Promises that every failed
call raises an `UpstreamError`, and that no redirect is followed: a bearer token goes to the configured address and nowhere else.
Leaves bearer tokens to `tokens`, and the meaning of answers to `answers`.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver

from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings
from batchseal.settings.services_files import FileState, file_state
from batchseal.system.loopback import is_loopback
from batchseal.upstream.answers import JsonObject, connection_error, error_of_answer, read_answer, read_bounded

MAX_CONNECTIONS = 32
CONNECT_SECONDS = 5.0
MAX_EXCHANGE_BYTES = 64 << 10  # of an answer that is not JSON
KEEP_ALIVE: dict[str, Any] = {"keepalive_timeout": 30}
READ_SECONDS = 60.0  # the longest time without any byte; each call has a deadline as well


def check_address(address: str, *, allow_http: bool = False) -> str:
    """The base address, without a slash at its end.

    Raises ConfigurationError if it is no http(s) address. Plain http is allowed only for loopback, or with `allow_http`.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"--service-domain: {address!r} is not an address such as https://host")
    if parts.username or parts.password:
        raise ConfigurationError("--service-domain: must not contain a user or a password")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        raise ConfigurationError("--service-domain: must be https (--upstream-allow-http allows plain http)")
    return address.rstrip("/")


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach other machines: the outbound proxy and TLS.

    `no_proxy` has the form of the environment variable of that name. `ca_bundle` and `client_certificate` are PEM files; the
    latter holds the key as well.
    """

    proxy: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    no_proxy: str = ""
    ca_bundle: str = ""
    client_certificate: str = ""

    def proxy_for(self, address: str) -> str | None:
        """The address of the proxy for calls to `address`; None if they go there directly."""
        host = urlsplit(address).hostname or ""
        return None if self.proxy is None or is_exempt(host, self.no_proxy) else self.proxy

    def authentication(self) -> dict[str, str]:
        """The headers that log in to the proxy; {} if it needs none."""
        if not self.user:
            return {}
        return {"Proxy-Authorization": aiohttp.encode_basic_auth(self.user, self.password, "utf-8")}

    def tls(self) -> ssl.SSLContext:
        """Settings for TLS 1.2 or newer. Raises ConfigurationError for files that cannot be used."""
        try:
            files = self.ca_bundle, self.client_certificate
            return tls_context(*files, *(file_state(Path(file)) if file else None for file in files))
        except (OSError, ValueError) as problem:
            raise ConfigurationError(f"--ca-bundle or --client-certificate: {problem}") from None


@lru_cache(maxsize=4)
def tls_context(ca_bundle: str, client_certificate: str, *_: FileState | None) -> ssl.SSLContext:
    """The settings for TLS with these files, for all connections: to read the certificates of the system takes 40 ms and 0.7 MB.

    The last two arguments say which state of the files is meant. Raises OSError and ValueError.
    """
    context = ssl.create_default_context(cafile=ca_bundle or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_certificate:
        # Without a password here, OpenSSL would stop and ask the terminal for that of an encrypted key.
        context.load_cert_chain(client_certificate, password=lambda: "")
    return context


def route_of(settings: Settings) -> Route:
    """The route that the settings describe. Raises ConfigurationError for a proxy without port, and for unusable certificates."""
    proxy = proxy_address(settings.proxy_hostname, settings.proxy_port)
    user, password = settings.proxy_user, settings.proxy_password
    route = Route(proxy, user, password, settings.no_proxy, settings.ca_bundle, settings.client_certificate)
    route.tls()
    return route


def is_exempt(host: str, no_proxy: str) -> bool:
    """Whether `no_proxy` names the host: by `*`, by its name, or by a domain above it. Ports in `no_proxy` are ignored."""
    for entry in no_proxy.replace(" ", ",").split(","):
        name = entry.strip().lower()
        name = (name.partition("]")[0][1:] if name.startswith("[") else name.partition(":")[0]).lstrip("*").lstrip(".")
        if entry.strip() == "*" or (name and (host == name or host.endswith("." + name))):
            return True
    return False


def proxy_address(host: str, port: int) -> str | None:
    """The proxy's address; None without a host. Raises ConfigurationError for a host without a valid port."""
    if not host:
        return None
    if not 0 < port <= 65535:
        raise ConfigurationError("--proxy-port: must be given with --proxy-hostname")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Transport:
    """Sends requests to one address, over connections that stay open. Must be used and closed in the same event loop."""

    def __init__(self, address: str, route: Route = Route(), resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses of host names, in place of the operating system."""
        self._resolver = resolver
        self.address = address
        self.proxy = route.proxy_for(address)
        self.route = route
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
        """Sends `json` or `form` to `path`, once, and returns the JSON object of the answer.

        Raises UpstreamError for any other answer, or one of more than `max_answer_bytes`, and for a failed connection.
        """
        headers = {"Accept": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        body: bytes | Mapping[str, str] | None = form
        if json is not None:
            body, headers["Content-Type"] = msgspec.json.encode(json), "application/json"
        status, answered, data = await self._send(path, body, headers, deadline_seconds, max_answer_bytes)
        return read_answer(path, status, answered, data)

    async def exchange(self, body: bytes, kind: str, answer_kind: str, deadline_seconds: float) -> bytes:
        """Sends a body of type `kind` to the address itself; returns the body of the answer. Raises UpstreamError."""
        headers = {"Content-Type": kind, "Accept": answer_kind}
        status, answered, data = await self._send("", body, headers, deadline_seconds, MAX_EXCHANGE_BYTES)
        if status != 200:
            raise error_of_answer(self.address, status, answered, {})
        return data

    async def fetch(
        self,
        deadline_seconds: float,
        max_answer_bytes: int,
        book: Callable[[int], Awaitable[None]] | None = None,
    ) -> bytes:
        """The body at the address itself, by GET. Raises UpstreamError, also for a body of more than `max_answer_bytes`.

        `book` is awaited between the headers and the body, with the largest number of bytes that the body may have.
        """
        status, answered, data = await self._send(
            "", None, {}, deadline_seconds, max_answer_bytes, method="GET", book=book
        )
        if status != 200:
            raise error_of_answer(self.address, status, answered, {})
        return data

    async def _send(
        self,
        path: str,
        body: bytes | Mapping[str, str] | None,
        headers: Mapping[str, str],
        deadline_seconds: float,
        max_answer_bytes: int,
        *,
        method: str = "POST",
        book: Callable[[int], Awaitable[None]] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        # With TLS, the proxy reads the headers of the CONNECT request; without TLS, it reads those of the call itself.
        for_proxy = self.route.authentication() if self.proxy else {}
        with_call = {} if self.address.startswith("https:") else for_proxy
        try:
            async with self._open_session().request(
                method,
                self.address + path,
                data=body,
                headers={"Accept-Encoding": "identity", **headers, **with_call},
                proxy=self.proxy,
                proxy_headers=None if with_call else for_proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=deadline_seconds, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
                ),
            ) as response:
                if book is not None:
                    # Without a length, or with that of a compressed form, the body may have as many bytes as are accepted.
                    said = None if "Content-Encoding" in response.headers else response.content_length
                    max_answer_bytes = max_answer_bytes if said is None else min(said, max_answer_bytes)
                    await book(max_answer_bytes)
                return response.status, response.headers, await read_bounded(response, max_answer_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            raise connection_error(path, problem) from None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            # Many proxies close the connection after a plain request, and announce it too late: it must not be used again.
            closes = self.proxy is not None and self.address.startswith("http:")
            connector = aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                ssl=self.route.tls(),
                force_close=closes,
                resolver=self._resolver,
                **({} if closes else KEEP_ALIVE),
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
