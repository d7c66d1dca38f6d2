"""What a request's headers and path say, beyond authentication."""

import re
from dataclasses import dataclass
from email.message import Message as Headers

from batchseal.errors import InvalidRequest, NotFound, ValueNotAllowed

MAX_ID = (1 << 63) - 1
MAX_WAIT_SECONDS = 60.0
ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class Preferences:
    """RFC 7240: what the caller would like."""

    respond_async: bool = False
    wait_seconds: float = 0.0


def parse_prefer(header: str | None) -> Preferences:
    """Unknown and malformed preferences are ignored, as RFC 7240 2 wants it; a wait is bounded."""
    wanted: dict[str, str] = {}
    for item in re.split(r"[,;]", header or ""):
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
    """The Content-Type of a sign request for `form` ("json", "multipart"). Raises InvalidRequest where it is
    another.
    """
    media_type = (header or "").partition(";")[0].strip().lower()
    if form == "multipart":
        if media_type != "multipart/form-data":
            raise InvalidRequest(f"Content-Type is {media_type or 'missing'}; this address takes multipart/form-data")
        return header or ""
    if media_type not in ("", "application/json", "text/json") and not media_type.endswith("+json"):
        raise InvalidRequest(f"Content-Type is {media_type}; this address takes application/json")
    headers = Headers()
    headers["content-type"] = header or "application/json"
    charset = str(headers.get_param("charset", "utf-8")).lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise InvalidRequest(f"the body's charset is {charset}; JSON is UTF-8")
    return header or "application/json"


def parse_id(text: str) -> int:
    """An operation's id or a document's ordinal; what is not a number names nothing."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_ID:
        raise NotFound(f"{text[:40]!r} is not a number")
    return int(text)


def parse_boolean(text: str) -> bool:
    """`true` and `false` in any case: one live client sends Python's `True`."""
    if text.lower() not in ("true", "false"):
        raise ValueNotAllowed(f"contentInResponse is {text[:40]!r}, neither true nor false")
    return text.lower() == "true"


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` up to `stop`, without `stop`."""

    start: int
    stop: int


def parse_range(header: str | None, total_bytes: int) -> Slice | None:
    """The one range that is asked for (RFC 9110 14). None: send everything. An empty Slice: none of it
    exists.
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
