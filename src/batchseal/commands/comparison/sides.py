"""`Side`: one of the two services that are compared. Each call is made once: a repetition would cost again."""

import http.client
import json
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from batchseal.api.contract import Contract
from batchseal.client.http import BASE_PATH, problem_of
from batchseal.errors import ConfigurationError, RequestFailed

# A synchronous call may take as long as the service waits for its signing service.
REPLY_SECONDS = 300
TOKEN_SECONDS = 30
MAX_REPLY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered. `status` 0: it did not, and `problem` says why."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  # by their names in lower case
    body: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    problem: str = ""

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The JSON value of the body, or None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Side:
    """`name` is "old" or "new". `url` may hold the base path. The caller logs in with Basic, or with a token of `token_url`.

    Raises ConfigurationError if an address is not one of HTTP.
    """

    def __init__(
        self, name: str, url: str, client_id: str, secret: str, contract: Contract, *, token_url: str = ""
    ) -> None:
        self.name, self.url, self.contract = name, url, contract
        parts = split_http(f"--{name}", url)
        self._host, self._port = parts.hostname or "", parts.port
        self._is_tls = parts.scheme == "https"
        self._base = parts.path.rstrip("/") or BASE_PATH
        self._pair = client_id, secret
        self._token_url = token_url
        if token_url:
            split_http(f"--{name}-token-url", token_url)
        self._token = ""

    def log_in(self) -> None:
        """Fetches a token where one is wanted, so that the first call does not wait for it. Raises RequestFailed."""
        if not self._token_url:
            return
        parts = split_http("token address", self._token_url)
        connection = connect(parts.scheme == "https", parts.hostname or "", parts.port, TOKEN_SECONDS)
        try:
            headers = {"Authorization": basic(*self._pair), "Content-Type": "application/x-www-form-urlencoded"}
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, "grant_type=client_credentials", headers)
            reply = connection.getresponse()
            if reply.status != 200:
                raise problem_of(reply)
            self._token = str(json.loads(reply.read())["access_token"])
        except (OSError, http.client.HTTPException, ValueError, LookupError) as problem:
            raise RequestFailed(f"{self.name}: no token from {parts.hostname}: {problem}") from None
        finally:
            connection.close()

    def route(self, name: str, **values: object) -> tuple[str, str]:
        """The method and the path of a route of the contract."""
        return self.contract.routes[name].verb, self.contract.path(name, self._base, **values)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        logged_in: bool = True,
    ) -> Answer:
        """Makes one call. Never raises for what the service or the network does."""
        authorization = f"Bearer {self._token}" if self._token else basic(*self._pair)
        sent = {"Accept": "application/json", **(headers or {})} | (
            {"Authorization": authorization} if logged_in else {}
        )
        connection = connect(self._is_tls, self._host, self._port, REPLY_SECONDS)
        began = time.monotonic()
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            data = reply.read(MAX_REPLY_BYTES)
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, names, data, time.monotonic() - began)
        except (OSError, http.client.HTTPException) as problem:
            why = str(problem) or type(problem).__name__
            return Answer(0, seconds=time.monotonic() - began, problem=f"no answer: {why}")
        finally:
            connection.close()


def split_http(flag: str, url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{flag}: {url!r} is not an address that begins with http:// or https://")
    return parts


def connect(is_tls: bool, host: str, port: int | None, seconds: float) -> http.client.HTTPConnection:
    if is_tls:
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=seconds)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()
