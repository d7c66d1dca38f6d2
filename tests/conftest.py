"""Options of the whole suite, and what it says at its end."""

import pytest
from tests.support import tiers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--trials", type=int, default=2, help="how often a drill is repeated (default: %(default)s)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    if lines := tiers.table(reports):
        terminalreporter.section("tiers")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--trials"))
