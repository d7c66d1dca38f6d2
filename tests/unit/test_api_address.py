"""Reading raw paths: the external reference is kept unchanged, and the rest of the path becomes canonical."""

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchseal.api.address import Addresses
from batchseal.api.contract import load_contract
from batchseal.errors import InvalidRequest

BASE = "/signstash/einvoice-integration-client-ws"
ALIAS = "/signstash/einvoice-integration-ws"
STATUS = "/api/v0/async/operation/status/withExternalReference"
ADDRESSES = Addresses(load_contract())

references = st.text(min_size=1, max_size=40).filter(lambda text: text.strip("/") and text.isprintable())


def resolved(path: str, query: str = "") -> tuple[str, str | None]:
    address = ADDRESSES.resolve(path.encode(), query.encode())
    return address.path.decode(), address.reference


@given(references)
def test_an_encoded_reference_comes_through_whole(reference: str) -> None:
    assert resolved(f"{BASE}{STATUS}/{quote(reference, safe='')}") == (BASE + STATUS, reference)


@given(references)
def test_a_reference_with_plain_slashes_comes_through_whole(reference: str) -> None:
    assert resolved(f"{BASE}{STATUS}/{quote(reference, safe='/')}") == (BASE + STATUS, reference)


@given(references)
def test_a_reference_in_the_query_comes_through_whole(reference: str) -> None:
    for query in (quote_plus(reference), quote(reference, safe="")):
        assert resolved(BASE + STATUS, f"x=1&externalReference={query}") == (BASE + STATUS, reference)
        assert resolved(BASE + STATUS + "/", f"externalReference={query}") == (BASE + STATUS, reference)


@pytest.mark.parametrize(
    "reference", ["FT 2021/5", "a//b", "/begins", "ends/", "%2F", "ç:é", "status", "../..", "a+b", "."]
)
def test_references_of_the_wild(reference: str) -> None:
    assert resolved(f"{BASE}{STATUS}/{quote(reference, safe='')}")[1] == reference


def test_the_path_wins_over_the_query() -> None:
    assert resolved(f"{BASE}{STATUS}/a", "externalReference=b")[1] == "a"


def test_no_reference_at_all() -> None:
    assert resolved(BASE + STATUS) == (BASE + STATUS, None)
    assert resolved(BASE + STATUS + "/", "externalReference=") == (BASE + STATUS, "")


@pytest.mark.parametrize("reference", ["%ff", "%C3", "a%80b"])
def test_a_reference_that_is_not_utf8_is_refused(reference: str) -> None:
    with pytest.raises(InvalidRequest):
        resolved(f"{BASE}{STATUS}/{reference}")
    with pytest.raises(InvalidRequest):
        resolved(BASE + STATUS, f"externalReference={reference}")


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        (BASE + "/api/v0/document/sign/base64//", BASE + "/api/v0/document/sign/base64"),
        ("/" + BASE + "//api//v0/document/sign/", BASE + "/api/v0/document/sign"),
        (ALIAS + "/api/v0/operation/status/1", BASE + "/api/v0/operation/status/1"),
        (ALIAS, BASE),
        (ALIAS + "x/api", ALIAS + "x/api"),
        ("//health///live/", "/health/live"),
        ("/", "/"),
        ("", "/"),
        ("*", "*"),
    ],
)
def test_canonical_paths(path: str, canonical: str) -> None:
    assert resolved(path) == (canonical, None)


def test_the_base_that_the_caller_used() -> None:
    assert ADDRESSES.resolve(f"/{ALIAS}//{STATUS}/a".encode(), b"").base == ALIAS
    assert ADDRESSES.resolve(f"{ALIAS}/api".encode(), b"").base == ALIAS
    assert ADDRESSES.resolve(b"/health/live", b"").base == BASE
