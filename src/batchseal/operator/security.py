"""What protects the pages in a browser: the headers of every reply, the cookie, and the refusal of requests from other sites."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit
from uuid import UUID

from batchseal.operator.request import Request
from batchseal.settings.load import Settings
from batchseal.system.addresses import TrustedProxies, parse_address

# Nothing comes from elsewhere, nothing is inline, and nobody may show the pages in a frame. Plots and bars are SVG and CSS files.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# With `no-referrer`, browsers would send `Origin: null` with forms of our own.
HEADERS = (
    ("content-security-policy", POLICY),
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
HSTS = ("strict-transport-security", "max-age=31536000")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Surroundings:
    """What stands between the service and its browsers, as the settings say it."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = TrustedProxies(f"{settings.trusted_proxies} {settings.operator_proxies}")
        self._authorities = {urlsplit(settings.operator_url).netloc.lower()} - {""}
        self.is_insecure = settings.operator_insecure
        self.has_tls = bool(settings.tls_certificate)

    def peer(self, address: str, forwarded: Iterable[bytes]) -> str:
        """The address of the browser, where a trusted proxy calls for it. `forwarded` are its X-Forwarded-For headers."""
        return self._proxies.real_address(address, [value.decode("latin-1") for value in forwarded])

    def is_secure(self, address: str, headers: Mapping[bytes, bytes], scheme: str) -> bool:
        """Whether the browser uses TLS: with us, or with a trusted proxy that says so."""
        said = headers.get(b"x-forwarded-proto", b"").decode("latin-1").rpartition(",")[2].strip().lower()
        return scheme == "https" or (address in self._proxies and said == "https")

    def host(self, address: str, headers: Mapping[bytes, bytes]) -> str:
        """The authority that the browser called."""
        forwarded = headers.get(b"x-forwarded-host", b"") if address in self._proxies else b""
        return (forwarded or headers.get(b"host", b"")).decode("latin-1").strip().lower()

    def may_sign_in(self, request: Request) -> bool:
        """Whether what the browser sends cannot be read on the way, or the settings take that risk.

        A browser that calls loopback keeps secure cookies without TLS (Secure Contexts 3.1).
        """
        return request.is_secure or self.is_insecure or is_loopback_name(request.host)

    def is_from_here(self, request: Request) -> bool:
        """Whether a request that changes something was sent by a page of ours, as far as its headers tell.

        Browsers say so in Sec-Fetch-Site and Origin (Fetch Metadata; RFC 6454). Other clients send neither, and no other site can
        make them send a request. Every form has a token too, whatever this says.
        """
        if site := request.header("sec-fetch-site"):
            return site.lower() in ("same-origin", "none")
        origin = request.header("origin").lower()
        return not origin or origin.partition("//")[2] in {request.host, *self._authorities}


def is_loopback_name(host: str) -> bool:
    """Whether an authority names this machine, for the browser that calls it."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    address = parse_address(name)
    return name in LOOPBACK_NAMES or name.endswith(".localhost") or (address is not None and address.is_loopback)


class CookieNames:
    """The names of the cookies of a service. `database` is the id of its database.

    Cookies know no ports, and a proxy may tell none. So a name has the begin of that id, and the port that the browser named:
    services on one host do not take each other's cookies. A browser takes `__Host-` only over TLS or loopback, for one host and
    all paths.
    """

    def __init__(self, database: UUID) -> None:
        self._service = database.hex[:8]

    def session(self, request: Request) -> str:
        """That of the session."""
        return self._name("batchseal", request)

    def login(self, request: Request) -> str:
        """That of a login which was begun at an OpenID provider."""
        return self._name("batchseal-oidc", request)

    def _name(self, kind: str, request: Request) -> str:
        host, _, port = request.host.rpartition(":")
        suffix = f"-{port}" if host and port.isdecimal() else ""
        prefix = "__Host-" if is_kept_secure(request) else ""
        return f"{prefix}{kind}-{self._service}{suffix}"


def cookie_attributes(request: Request, more: str = "SameSite=Strict") -> str:
    """The attributes of such a cookie."""
    return f"Path=/; HttpOnly; {more}" + ("; Secure" if is_kept_secure(request) else "")


def is_kept_secure(request: Request) -> bool:
    """Whether the browser keeps a cookie with `Secure` that we set now."""
    return request.is_secure or is_loopback_name(request.host)


def form_token(session_token: str) -> str:
    """The token of all forms of a session. It tells nothing of the session's own token."""
    return hmac.digest(session_token.encode(), b"form of the operator's page", "sha256").hex()


def digest_of_token(token: str) -> bytes:
    """The name of a session in the database."""
    return hashlib.sha256(token.encode()).digest()
