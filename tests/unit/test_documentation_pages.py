"""How the pages of the documentation are served, without a service around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from blacksheep import Response

from batchseal.api.documentation import documentation_file, files, has_tag
from batchseal.errors import NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    pages = tmp_path / "pages"
    (pages / "search").mkdir(parents=True)
    (pages / "index.html").write_text("<p>index</p>")
    (pages / "search" / "search_index.json").write_text("{}")
    (pages / ".gitignore").write_text("*")
    (tmp_path / "secret.html").write_text("outside")
    (pages / "link.html").symlink_to(tmp_path / "missing.html")
    yield pages
    files.cache_clear()


def header(reply: Response, name: bytes) -> bytes:
    value = reply.headers.get_first(name)
    assert value is not None
    return value


def test_a_page_has_its_type_a_tag_and_a_policy(folder: Path) -> None:
    reply = documentation_file("index.html", None, folder)
    assert reply.status == 200 and reply.content is not None
    assert reply.content.type == b"text/html; charset=utf-8"
    policy = header(reply, b"content-security-policy")
    assert b"default-src 'none'" in policy and b"unsafe" not in policy
    below = documentation_file("search/search_index.json", None, folder)
    assert below.content is not None and below.content.type == b"application/json"


def test_a_page_that_the_caller_has_is_not_sent_again(folder: Path) -> None:
    tag = header(documentation_file("index.html", None, folder), b"etag").decode()
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = documentation_file("index.html", given, folder)
        assert (reply.status, reply.content) == (304, None)
    assert not has_tag('"other"', tag) and not has_tag("", tag)
    (folder / "index.html").write_text("<p>another</p>")
    assert documentation_file("index.html", tag, folder).status == 200


@pytest.mark.parametrize(
    "name",
    ["", "../secret.html", "search/../../secret.html", "/etc/passwd", ".gitignore", "search", "link.html", "index.htm"],
)
def test_no_other_name_leads_to_a_file(name: str, folder: Path) -> None:
    with pytest.raises(NotFound):
        documentation_file(name, None, folder)


def test_pages_that_are_not_installed_are_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not installed here; `make docs` builds it"):
        documentation_file("index.html", None, tmp_path)
