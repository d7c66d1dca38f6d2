"""Options of the whole suite, and what it says at its end."""

from typing import Any

import pytest
from tests.support import tiers

# Tests that watch the time, or need much of the machine, take turns in one process, the drills last. All others run in further
# processes, each file where there is room.
BY_TURNS = (
    *(f"tests/integration/test_{part}" for part in ("service_", "several_", "synchronous", "large_documents")),
    *(
        f"tests/integration/test_{part}"
        for part in ("any_instance", "balancers", "presence", "resumption", "idle_modules")
    ),
    "tests/adversity/",
)
WITH_SERVERS = ("tests/integration/",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--trials", type=int, default=2, help="how often a drill is repeated (default: %(default)s)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes turns comes first, since it takes longest; then other tests with servers, which fill the gaps of each other."""
    items.sort(key=lambda item: rank(item.nodeid))


def takes_turns(nodeid: str) -> bool:
    """Whether a test is one of those that run one after the other in one process."""
    return nodeid.startswith(BY_TURNS)


def rank(nodeid: str) -> int:
    if takes_turns(nodeid):
        return next(rank for rank, part in enumerate(BY_TURNS) if nodeid.startswith(part))
    return len(BY_TURNS) + (not nodeid.startswith(WITH_SERVERS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `-n 3`: the tests that take turns are one unit of work, and each file of the others is one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByTier(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "by turns" if takes_turns(nodeid) else nodeid.partition("::")[0]

    return ByTier(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    if lines := tiers.table(reports):
        terminalreporter.section("tiers")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--trials"))
