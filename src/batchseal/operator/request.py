"""One request of a browser as the pages see it, and the reply that a page gives."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

from batchseal.api.exchange import Exchange
from batchseal.errors import InvalidRequest
from batchseal.operator.roles import RIGHTS, Right

HTML = "text/html; charset=utf-8"
# A field takes about 250 bytes of memory once it is read.
MAX_FIELDS = 20_000
MAX_QUERY_BYTES, MAX_QUERY_FIELDS, MAX_VALUE_CHARACTERS = 8 << 10, 100, 2_000
# What a form may have of somebody who is not signed in: that of the login page has four fields.
MAX_STRANGER_BYTES, MAX_STRANGER_FIELDS = 16 << 10, 20


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An operator who is signed in. `form_token` stands in every form of the session.

    `identity` says who this is at an OpenID provider; it is empty for others, whom `source` and `name` identify.
    """

    name: str
    role: str
    source: str
    address: str
    form_token: str
    identity: str = ""

    @property
    def actor(self) -> str:
        """The operator as the audit trail and the log tell it."""
        return actor_of(self.name, self.identity)


def actor_of(name: str, identity: str) -> str:
    """A name, and to whom it belongs now: at an OpenID provider it may become that of somebody else."""
    return f"{name} ({identity})" if identity else name


@dataclass(slots=True)
class Request:
    """A request. `peer` is the address of the browser itself, `is_secure` says whether it came through TLS.

    `host` is the authority that the browser called (HOST or HOST:PORT). `values` are the parts of the path that the route names.
    `session` is who is signed in, if anybody is. `read_form` keeps what `form` has read.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[bytes, bytes]
    exchange: Exchange
    peer: str
    host: str
    is_secure: bool
    values: Mapping[str, str] = field(default_factory=dict)
    session: SignedIn | None = None
    read_form: dict[str, list[str]] | None = None

    def cookie(self, name: str) -> str:
        """The value of a cookie; empty without one.

        Only its own pair is looked at: other services of the host may have cookies that no standard allows.
        """
        for pair in self.headers.get(b"cookie", b"").decode("latin-1").split(";"):
            found, _, value = pair.strip().partition("=")
            if found == name:
                return value
        return ""

    def header(self, name: str) -> str:
        """The value of a header; empty without one."""
        return self.headers.get(name.lower().encode("latin-1"), b"").decode("utf-8", "replace").strip()

    def asked(self, name: str, default: str = "") -> str:
        """The first value of a parameter of the query, without NUL, which PostgreSQL takes in no text."""
        return self.query.get(name, [default])[0].replace("\0", "").strip()[:MAX_VALUE_CHARACTERS]

    @property
    def is_part(self) -> bool:
        """Whether htmx asks for a part of a page only."""
        return self.headers.get(b"hx-request") == b"true" and b"hx-history-restore-request" not in self.headers

    def may(self, right: Right) -> bool:
        """Whether the role of who is signed in has this right."""
        return self.session is not None and right in RIGHTS[self.session.role]

    async def form(self) -> dict[str, list[str]]:
        """The fields of a form (application/x-www-form-urlencoded). Raises ApiError if it is none, or is too large.

        Anybody may send a form to the login page, and many wait for their turn there. So little of it is kept.
        """
        if self.read_form is None:
            if not self.header("content-type").lower().startswith("application/x-www-form-urlencoded"):
                raise InvalidRequest("the body is not a form")
            if self.session is None:
                self.exchange.max_body_bytes = MAX_STRANGER_BYTES
            body = b"".join([chunk async for chunk in self.exchange.body()])
            self.read_form = read_fields(body, MAX_STRANGER_FIELDS if self.session is None else MAX_FIELDS)
        return self.read_form

    async def field(self, name: str) -> str:
        """The first value of a field of the form."""
        return (await self.form()).get(name, [""])[0].replace("\0", "")


@dataclass(slots=True)
class Reply:
    """A reply. `body` is whole, or comes in pieces."""

    body: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    media_type: str = HTML
    headers: list[tuple[str, str]] = field(default_factory=list)

    def with_cookie(self, name: str, value: str, attributes: str) -> "Reply":
        """This reply with one more cookie."""
        self.headers.append(("set-cookie", f"{name}={value}; {attributes}"))
        return self


def read_fields(data: bytes, most: int = MAX_FIELDS) -> dict[str, list[str]]:
    """The fields of a query or form. Raises InvalidRequest if there are more than `most`, or if they are not UTF-8."""
    try:
        return parse_qs(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=most, encoding="utf-8"
        )
    except ValueError:
        raise InvalidRequest("the fields cannot be read") from None


def redirect(address: str) -> Reply:
    """Sends the browser to another page of ours, with GET. Raises ValueError unless the address begins with one slash."""
    if not address.startswith("/") or address.startswith(("//", "/\\")):
        raise ValueError(f"{address!r} is no address of ours")
    return Reply(status=303, headers=[("location", address)])


def own_address(text: str) -> str:
    """The address of a page of ours that a form or query names as the next one, or that of the first page.

    Anything that a browser could take for another site is refused.
    """
    is_ours = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_ours and text.isascii() and len(text) <= MAX_VALUE_CHARACTERS else "/"


def with_query(path: str, values: Mapping[str, str | None]) -> str:
    """A path with those parameters that have a value."""
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path
