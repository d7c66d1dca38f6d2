"""Reading the headers and the path elements of requests."""

import pytest

from batchseal.api.requests import (
    Preferences,
    Slice,
    check_media_type,
    parse_boolean,
    parse_id,
    parse_prefer,
    parse_range,
    wants_zip,
)
from batchseal.errors import InvalidRequest, NotFound, ValueNotAllowed


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Preferences()),
        ("respond-async", Preferences(respond_async=True)),
        ("Respond-Async, wait=10", Preferences(respond_async=True, wait_seconds=10)),
        ('foo; bar, wait="7"', Preferences(wait_seconds=7)),
        ("wait=100000", Preferences(wait_seconds=60)),
        ("wait=-1", Preferences()),
        ("wait=²", Preferences()),
        ("wait", Preferences()),
    ],
)
def test_prefer(header: str | None, expected: Preferences) -> None:
    assert parse_prefer(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("*/*", False),
        ("application/zip", True),
        ("application/zip, */*", False),
        ("application/zip;q=0.9, application/json;q=0.5", True),
        ("application/zip;q=0.5, application/json", False),
        ("Application/ZIP; q=1.0", True),
        ("application/zip;q=0", False),
        ("text/html", False),
    ],
)
def test_accept(header: str | None, expected: bool) -> None:
    assert wants_zip(header) is expected


@pytest.mark.parametrize("header", [None, "application/json", "application/JSON; charset=UTF-8", "application/x+json"])
def test_json_types(header: str | None) -> None:
    assert check_media_type(header, "json")


@pytest.mark.parametrize(
    "header", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=latin-1", "x"]
)
def test_other_types_are_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        check_media_type(header, "json")


def test_a_multipart_type_is_handed_over_untouched() -> None:
    header = 'multipart/form-data; charset=utf-8; boundary="a b"'
    assert check_media_type(header, "multipart") == header
    with pytest.raises(InvalidRequest):
        check_media_type("application/json", "multipart")


def test_ids_and_booleans() -> None:
    assert parse_id("7498") == 7498
    for text in ("", "-1", "1.0", "x", "٣", "9223372036854775808", "0" * 20):
        with pytest.raises(NotFound):
            parse_id(text)
    assert [parse_boolean(text) for text in ("True", "false", "TRUE")] == [True, False, True]
    with pytest.raises(ValueNotAllowed):
        parse_boolean("1")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", Slice(0, 1)),
        ("bytes=0-", Slice(0, 10)),
        ("bytes=5-900", Slice(5, 10)),
        ("bytes=-3", Slice(7, 10)),
        ("bytes=-900", Slice(0, 10)),
        ("bytes=10-", Slice(0, 0)),
        ("bytes=-0", Slice(0, 0)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
    ],
)
def test_ranges(header: str | None, expected: Slice | None) -> None:
    assert parse_range(header, 10) == expected
