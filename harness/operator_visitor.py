"""Somebody who uses the operator's page without a browser: keeps cookies, sends forms with their token, reads what comes back."""

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts that tests make
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@dataclass(frozen=True)
class Answer:
    """A reply: its status, its headers by lower-case names, its body as text, and each cookie that it sets as it was sent."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: list[str]
    body: bytes = b""


@dataclass
class Visitor:
    """Somebody with a browser. `headers` go along with each request."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        sent = {
            "Host": f"127.0.0.1:{self.port}",
            **self.headers,
            **{n.replace("_", "-"): v for n, v in headers.items()},
        }
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        set_cookies = response.headers.get_all("set-cookie") or []
        for cookie in set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        text = data.decode("utf-8", "replace")
        if found := TOKEN.search(text):
            self.token = found[1]
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lower, text, set_cookies, data)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        """Sends a form. It has the token of the last page unless another one is given."""
        given = {"form_token": self.token if token is None else token, **(fields or {})}
        return self.ask("POST", path, urlencode(given, doseq=True), **headers)

    def sign_in(self, name: str, password: str = PASSWORD, code: str = "", **more: str) -> Answer:
        answer = self.post("/login", {"name": name, "password": password, "code": code, **more}, token="")
        if answer.status == 303:
            self.get("/")
        return answer


def values_of(text: str, name: str) -> list[str]:
    """The values of the fields of this name in a page."""
    return [unescape(value) for value in re.findall(rf'name="{name}" value="([^"]*)"', text)]
