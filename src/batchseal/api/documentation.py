"""Serves the documentation, the static pages that `make docs` builds into the folder `pages` beside this module.

It is imported with the first request for a page, and reads each file when it is asked for. Only names that the folder has lead to
a file, so no address leads out of it.
"""

import hashlib
from functools import cache
from pathlib import Path

from blacksheep import Content, Response

from batchseal.errors import NotFound

FOLDER = Path(__file__).with_name("pages")
START = "index.html"
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
}
# The pages load nothing but what stands beside them, and have no scripts or styles in their text.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none';"
    b" base-uri 'none'; form-action 'none'"
)


def documentation_file(name: str, if_none_match: str | None, folder: Path = FOLDER) -> Response:
    """The reply with a file of the pages: 200, or 304 if the caller has it. Raises NotFound."""
    media_type = files(folder).get(name)
    if media_type is None:
        raise NotFound(f"the documentation has no page {name[:80]!r}")
    content = (folder / name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = [(b"etag", tag.encode()), (b"content-security-policy", POLICY)]
    if has_tag(if_none_match or "", tag):
        return Response(304, headers)
    return Response(200, headers, Content(media_type, content))


def has_tag(if_none_match: str, tag: str) -> bool:
    """Whether the header names this tag, by the weak comparison (RFC 9110 13.1.2)."""
    given = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in given or given == ["*"]


@cache
def files(folder: Path) -> dict[str, bytes]:
    """The media type of each file below the folder, by its path. Raises NotFound if the pages are not installed."""
    found = {
        path.relative_to(folder).as_posix(): TYPES[path.suffix]
        for path in folder.rglob("*")
        if path.suffix in TYPES and path.is_file()
    }
    if START not in found:
        raise NotFound(
            "the documentation is not installed here; `make docs` builds it from the sources, and the image has it"
        )
    return found
