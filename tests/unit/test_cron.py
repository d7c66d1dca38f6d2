"""Cron expressions: which times they stand for, those around changes of the clock too, and what is refused."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from batchseal.errors import ConfigurationError
from batchseal.settings.cron import parse

LISBON = "Europe/Lisbon"


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", LISBON)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(LISBON), fold=fold).timestamp()


def following(expression: str, moment: float, count: int) -> list[str]:
    cron, found = parse(expression), []
    for _ in range(count):
        moment = cron.next_after(moment) or 0
        found.append(datetime.fromtimestamp(moment, ZoneInfo(LISBON)).isoformat(" ", "seconds"))
    return found


@pytest.mark.parametrize(
    ("expression", "begins", "expected"),
    [
        ("0 0/5 * * * ?", "2026-11-30 10:02:03", ["10:05:00", "10:10:00", "10:15:00"]),
        ("* * * * * *", "2026-11-30 23:59:58", ["23:59:59", "00:00:00"]),
        ("15,45 59 23 * * ?", "2026-11-30 23:59:15", ["23:59:45", "23:59:15"]),
        ("0 30 8-10/2 * * MON-FRI", "2026-11-27 11:00:00", ["08:30:00", "10:30:00", "08:30:00"]),
        ("@hourly", "2026-11-30 10:00:00", ["11:00:00", "12:00:00"]),
    ],
)
def test_the_next_times(expression: str, begins: str, expected: list[str]) -> None:
    found = following(expression, at(begins), len(expected))
    assert [one[11:19] for one in found] == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 0 L * ?", ["2026-11-30", "2026-12-31", "2027-01-31"]),
        ("0 0 0 L-2 FEB *", ["2027-02-26", "2028-02-27"]),
        ("0 0 0 ? * 5L", ["2026-11-27", "2026-12-25"]),
        ("0 0 0 * * MON#2", ["2026-11-09", "2026-12-14"]),
        ("0 0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 0 0 * * 7", ["2026-11-08", "2026-11-15"]),
        ("0 0 0 * * 0", ["2026-11-08", "2026-11-15"]),
        ("0 0 0 * * SAT-SUN", ["2026-11-07", "2026-11-08", "2026-11-14"]),
        ("0 0 0 13 * FRI", ["2026-11-13", "2027-08-13"]),
    ],
)
def test_the_next_days(expression: str, expected: list[str]) -> None:
    assert [one[:10] for one in following(expression, at("2026-11-05 12:00:00"), len(expected))] == expected


def test_a_time_that_the_clock_leaves_out_does_not_come() -> None:
    # In 2026 the clock goes from 01:00 to 02:00 on 29 March.
    assert following("0 30 1 * * *", at("2026-03-28 12:00:00"), 2) == [
        "2026-03-30 01:30:00+01:00",
        "2026-03-31 01:30:00+01:00",
    ]
    assert following("0 0/30 * * * ?", at("2026-03-29 00:30:00"), 2) == [
        "2026-03-29 02:00:00+01:00",
        "2026-03-29 02:30:00+01:00",
    ]


def test_a_time_that_the_clock_repeats_comes_twice() -> None:
    # On 25 October the clock goes from 02:00 back to 01:00.
    found = following("0 30 * * * *", at("2026-10-25 00:45:00"), 3)
    assert found == ["2026-10-25 01:30:00+01:00", "2026-10-25 01:30:00+00:00", "2026-10-25 02:30:00+00:00"]


@pytest.mark.parametrize("expression", ["-", "0 0 0 30 2 ?", "0 0 0 31 APR,JUN ?"])
def test_some_never_come(expression: str) -> None:
    assert parse(expression).next_after(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) is None


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("0/5 * * * *", "has 5 fields"),
        ("60 * * * * *", "'60' cannot stand for a second"),
        ("0 */0 * * * *", "minute"),
        ("0 0 24 * * *", "hour"),
        ("0 0 0 0 * *", "day of the month"),
        ("0 0 0 1 JUNE *", "month"),
        ("0 0 0 1 * 8", "day of the week"),
        ("0 5-1 * * * *", "minute"),
        ("0 0 0 15W * *", "day of the month"),
        ("0 0 0 * * 1#6", "day of the week"),
        ("", "has 0 fields"),
        ("0 ?/5 * * * *", "minute"),
    ],
)
def test_what_is_wrong_is_named(expression: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse(expression)
