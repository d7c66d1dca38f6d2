"""Reads the headers and path elements of requests, except for authentication."""

import re
from dataclasses import dataclass
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value
from urllib.parse import parse_qs

from batchseal.errors import InvalidRequest, NotFound, ValueNotAllowed

MAX_ID = (1 << 63) - 1
MAX_WAIT_SECONDS = 60.0
ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences that a caller can state in a Prefer header (RFC 7240)."""

    respond_async: bool = False
    wait_seconds: float = 0.0


def parse_prefer(header: str | None) -> Preferences:
    """Reads a Prefer header. Unknown and malformed preferences are ignored (RFC 7240 2); a wait is MAX_WAIT_SECONDS at most."""
    if not header:
        return Preferences(False, 0.0)
    wanted: dict[str, str] = {}
    for item in re.split(r"[,;]", header):
        name, _, value = item.strip().partition("=")
        wanted.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = wanted.get("wait", "")
    return Preferences(
        "respond-async" in wanted,
        min(float(wait), MAX_WAIT_SECONDS) if wait.isascii() and wait.isdigit() else 0.0,
    )


def wants_zip(accept: str | None) -> bool:
    """Whether `Accept` ranks application/zip above JSON (RFC 9110 12.5.1)."""
    weights = {"application/json": 0.0, ZIP: 0.0}
    for item in (accept or "").split(","):
        media_type, _, parameters = item.partition(";")
        weight = re.search(r"(?:^|;)\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)", parameters, re.IGNORECASE)
        media_type = media_type.strip().lower()
        if media_type in ("*/*", "application/*"):
            media_type = "application/json"
        if media_type in weights:
            weights[media_type] = max(weights[media_type], float(weight[1]) if weight else 1.0)
    return weights[ZIP] > weights["application/json"] or ("*" not in (accept or "") and weights[ZIP] == 1.0)


def check_media_type(header: str | None, form: str) -> str:
    """Returns the Content-Type of a sign request. Raises InvalidRequest if it does not fit `form` ("json", "multipart")."""
    header = header or ""
    media_type = header.partition(";")[0].strip().lower()
    if form == "multipart":
        if media_type != "multipart/form-data":
            raise InvalidRequest(f"Content-Type is {media_type or 'missing'}; this address takes multipart/form-data")
        return header
    if media_type not in ("", "application/json", "text/json") and not media_type.endswith("+json"):
        raise InvalidRequest(f"Content-Type is {media_type}; this address takes application/json")
    if ";" not in header:
        return header or "application/json"
    headers = Headers()
    headers["content-type"] = header
    charset = collapse_rfc2231_value(headers.get_param("charset", "utf-8")).lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise InvalidRequest(f"the body's charset is {charset}, but JSON must be UTF-8")
    return header


def parse_id(text: str) -> int:
    """Reads an operation's id or a document's ordinal. Raises NotFound for anything else, because it can name nothing."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_ID:
        raise NotFound(f"{text[:40]!r} is not a number")
    return int(text)


def parse_boolean(text: str, name: str = "contentInResponse") -> bool:
    """Reads `true` or `false`, in upper or lower case: a client in use sends Python's `True`. Raises ValueNotAllowed."""
    if text.lower() not in ("true", "false"):
        raise ValueNotAllowed(f"{name} is {text[:40]!r}; it must be true or false")
    return text.lower() == "true"


def asks_for_record(query: bytes, name: str) -> bool:
    """Whether the query asks for an evidence record by its parameter `name`. Raises ValueNotAllowed."""
    if not query:
        return False
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name)
    return parse_boolean(values[0], name) if values else False


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of bytes: from `start` up to, but not including, `stop`."""

    start: int
    stop: int


def parse_range(header: str | None, total_bytes: int) -> Slice | None:
    """Reads a Range header (RFC 9110 14) for a document of `total_bytes`.

    Returns None if the whole document must be sent: without a header, for a malformed one, or for more than one range.
    Returns an empty Slice if the range lies outside the document.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", header or "", re.IGNORECASE)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(0, total_bytes - int(match[2])), total_bytes
    else:
        start, stop = int(match[1]), min(int(match[2] or total_bytes) + 1, total_bytes)
        if match[2] and int(match[2]) < start:
            return None
    return Slice(start, stop) if start < stop else Slice(0, 0)
