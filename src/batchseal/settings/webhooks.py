"""What an entry of the client services file says of a webhook: the object `webhook`.

    "webhook": {"url": "https://erp.example/hooks/seal", "secret": "whsec_...", "previousSecret": "whsec_...", "events": [...]}

A key in it that is not known is refused: a misspelt secret must not mean that events are signed by the old one alone.
"""

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from batchseal.errors import ConfigurationError
from batchseal.system.loopback import is_loopback

KEYS = ("url", "secret", "previousSecret", "events")
# The names of the events, as they stand in the field `type` of what is sent.
OPERATION_FINISHED, OPERATION_FAILED, CREDENTIAL_EXPIRING = (
    "operation.finished",
    "operation.failed",
    "credential.expiring",
)
EVENTS = (OPERATION_FINISHED, OPERATION_FAILED, CREDENTIAL_EXPIRING)
# Standard Webhooks 1.0: a secret is this and base64 of 24 to 64 random bytes.
SECRET_PREFIX, SECRET_BYTES = "whsec_", (24, 64)

Wrong = Callable[[str], ConfigurationError]


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a client service is told of its events. `keys` sign them, the new one first; there are two while one is replaced."""

    url: str
    keys: tuple[bytes, ...] = field(repr=False)
    events: frozenset[str] = frozenset(EVENTS)

    @property
    def target(self) -> bytes:
        """The SHA-256 of the address, which may hold a secret: by this, another address is noticed."""
        return hashlib.sha256(self.url.encode()).digest()

    @property
    def host(self) -> str:
        """The host name in the address, in lower case; without the brackets of an IPv6 address."""
        return urlsplit(self.url).hostname or ""


def read_webhook(entry: Any, wrong: Wrong) -> Webhook:
    """The webhook that `entry` stands for; `wrong` makes the error that names the client service. Raises ConfigurationError."""
    if not isinstance(entry, dict):
        raise wrong("webhook is not an object")
    if unknown := sorted(entry.keys() - set(KEYS)):
        raise wrong(f"webhook has the unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    keys = [_key(entry, name, wrong) for name in ("secret", "previousSecret") if entry.get(name) is not None]
    if entry.get("secret") is None:
        raise wrong("webhook has no secret")
    return Webhook(_url(entry.get("url"), wrong), tuple(keys), _events(entry.get("events"), wrong))


def read_key(secret: str) -> bytes | None:
    """The key in a secret of Standard Webhooks, or None if it is not one."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    least, most = SECRET_BYTES
    return key if secret.startswith(SECRET_PREFIX) and least <= len(key) <= most else None


def _key(entry: dict[str, Any], name: str, wrong: Wrong) -> bytes:
    secret = entry[name]
    key = read_key(secret) if isinstance(secret, str) else None
    if key is None:
        least, most = SECRET_BYTES
        raise wrong(f"webhook.{name} is not {SECRET_PREFIX} and base64 of {least} to {most} random bytes")
    return key


def _url(url: Any, wrong: Wrong) -> str:
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise wrong("webhook.url is not an address such as https://host/path")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        raise wrong("webhook.url is not an address such as https://host/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise wrong("webhook.url is not an address such as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise wrong("webhook.url has a user or a password in it; events are signed instead")
    return url


def _events(names: Any, wrong: Wrong) -> frozenset[str]:
    if names is None:
        return frozenset(EVENTS)
    if not isinstance(names, list) or not names or any(name not in EVENTS for name in names):
        raise wrong(f"webhook.events is not a list of some of {', '.join(EVENTS)}")
    return frozenset(names)


def refusal_of(webhook: Webhook, hosts: str, *, allow_http: bool) -> str:
    """Why nothing may be sent to this address; empty if it may be. `hosts` is the value of --webhook-hosts.

    An entry of `hosts` is a name, an IP address, or `*.` and a domain, perhaps with a port. Without a port any port is meant.
    """
    parts = urlsplit(webhook.url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not any(_names(entry, host, port) for entry in hosts.replace(",", " ").split()):
        return f"--webhook-hosts does not name the host {host}"
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        return "the address is plain http; --webhook-allow-http allows that"
    return ""


def _names(entry: str, host: str, port: int) -> bool:
    named, colon, number = entry.rpartition(":")
    if not colon or not number.isdigit() or (":" in named and not named.endswith("]")):
        named, number = entry, ""
    named = named.strip("[]").lower().rstrip(".")
    if number and int(number) != port:
        return False
    return host.endswith(named[1:]) if named.startswith("*.") else host == named
