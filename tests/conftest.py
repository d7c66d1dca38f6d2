"""Options of the whole suite, and what it says at its end."""

import pytest
from tests.support import tiers


# Tiers whose tests run servers and watch the time. They take turns in one process, while the others run in a second one.
WITH_SERVERS = ("tests/integration/", "tests/acceptance/", "benchmarks/checks/", "tests/adversity/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--trials", type=int, default=2, help="how often a drill is repeated (default: %(default)s)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2 --dist loadgroup`. The tests that watch the time most come last, when the second process has ended."""
    ranks = {tier: rank for rank, tier in enumerate(WITH_SERVERS)}

    def rank(item: pytest.Item) -> int:
        return next((rank for tier, rank in ranks.items() if item.nodeid.startswith(tier)), len(ranks))

    items.sort(key=rank)
    for item in items:
        if rank(item) < len(ranks):
            item.add_marker(pytest.mark.xdist_group("servers"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    if lines := tiers.table(reports):
        terminalreporter.section("tiers")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--trials"))
