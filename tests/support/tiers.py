"""How long each tier of the tests took, and how it runs alone: printed at the end of `make test`."""

from collections.abc import Iterable

import pytest


def tier_of(node: str) -> str:
    """`tests/unit` for a test in `tests/unit/test_cms.py`. The files in `benchmarks/checks` are a tier as well."""
    return "/".join(node.split("/")[:2])


def table(reports: Iterable[object]) -> list[str]:
    """A line for each tier, the longest first. None if fewer than two tiers ran.

    The time is that of the tests and their fixtures. What a shared fixture takes counts for the first test that uses it.
    """
    seconds: dict[str, float] = {}
    tests: dict[str, set[str]] = {}
    for report in reports:
        if isinstance(report, pytest.TestReport) and "/" in report.nodeid:
            tier = tier_of(report.nodeid)
            seconds[tier] = seconds.get(tier, 0.0) + report.duration
            tests.setdefault(tier, set()).add(report.nodeid)
    if len(seconds) < 2:
        return []
    longest = sorted(seconds, key=lambda tier: -seconds[tier])
    lines = [f"{seconds[tier] / 60:7.2f}  {len(tests[tier]):5}  make test TESTS={tier}" for tier in longest]
    return ["minutes  tests  the tier alone", *lines, f"{sum(seconds.values()) / 60:7.2f}  together"]
