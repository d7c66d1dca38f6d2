"""The documentation as the service serves it: below each base, from its own files alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from lxml import html
from tests.support.api_service import BASE, Service

from batchseal.api.documentation import FOLDER, TYPES

PATH = BASE.removesuffix("/api/v0") + "/docs"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if not (FOLDER / "index.html").is_file():
        said = "the documentation is not built (make docs)"
        pytest.fail(said) if os.environ.get("REQUIRE_VALIDATORS") == "1" else pytest.skip(said)
    service = Service(tmp_path_factory.mktemp("api"))
    yield service
    assert service.stop() == 0


def built() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.suffix in TYPES]


def test_the_address_leads_to_the_first_page_and_from_there_to_all(service: Service) -> None:
    for base in (PATH, PATH + "/", PATH.replace("-client-ws", "-ws")):
        reply = requests.get(service.url + base)
        assert reply.status_code == 200 and reply.url == f"{service.url}{base.rstrip('/')}/index.html"
    seen, ahead = set(), {reply.url}
    while ahead:
        address = ahead.pop()
        seen.add(address)
        page = requests.get(address)
        assert page.status_code == 200, address
        if page.headers["content-type"].startswith("text/html"):
            tree = html.fromstring(page.content)
            tree.make_links_absolute(address)
            found = {link.partition("#")[0] for _, _, link, _ in tree.iterlinks()}
            ahead |= {link for link in found if link.startswith(service.url)} - seen
    assert {path.name for path in FOLDER.glob("*.html")} <= {address.rpartition("/")[2] for address in seen}


def test_each_file_has_its_type_and_is_asked_for_again_by_its_tag(service: Service) -> None:
    assert len(built()) > 20
    for path in built():
        address = f"{service.url}{PATH}/{path.relative_to(FOLDER)}"
        reply = requests.get(address)
        assert (reply.status_code, reply.content) == (200, path.read_bytes())
        assert reply.headers["content-type"] == TYPES[path.suffix].decode()
        assert reply.headers["cache-control"] == "no-cache"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    again = requests.get(address, headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == reply.headers["etag"]


def test_head_tells_what_get_would(service: Service) -> None:
    address = f"{service.url}{PATH}/index.html"
    reply, head = requests.get(address), requests.head(address)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "cache-control"):
        assert head.headers[name] == reply.headers[name]


@pytest.mark.parametrize(
    "tail",
    [
        "../contract.toml",
        "..%2fcontract.toml",
        "%2e%2e/contract.toml",
        "search/../../contract.toml",
        "//etc/passwd",
        ".gitignore",
        "search",
        "no-such-page.html",
        "index.html%00.png",
        "index.html/",
    ],
)
def test_nothing_else_is_served(tail: str, service: Service) -> None:
    reply = service.raw(f"GET {PATH}/{tail} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    if tail.endswith("html/"):
        assert reply.startswith(b"HTTP/1.1 200 ")  # a slash at the end does not count, at any address
    else:
        assert reply.startswith(b"HTTP/1.1 404 ") and b"cache-control: no-store" in reply.lower()


def test_pages_are_only_read(service: Service) -> None:
    reply = requests.post(f"{service.url}{PATH}/index.html")
    assert reply.status_code == 405 and reply.headers["allow"] == "GET, HEAD"
