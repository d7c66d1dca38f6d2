"""Options of the whole suite, and what it says at its end."""

from functools import partial
from typing import Any

import pytest
from tests.support import memory_folder, products, tiers

# Tiers whose tests run servers and watch the time. They take turns in one process, while the others run in a second one.
WITH_SERVERS = ("tests/integration/", "tests/adversity/")
# Those among them that have servers of their own and do not watch the time: each file runs where there is room.
ANYWHERE = tuple(f"tests/integration/test_{part}" for part in ("api_", "revocation", "sandbox_", "store_", "upstream_"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--products", action="store_true", help="every combination of parameters where only some are tried"
    )
    parser.addoption("--trials", type=int, default=2, help="how often a drill is repeated (default: %(default)s)")


def pytest_configure(config: pytest.Config) -> None:
    """Files of tests lie in memory where they can. The processes of `-n 2` take the folder from the one that starts them.

    An example of hypothesis takes as long as the machine is busy. Where a test is about time, it measures that of the processor.
    """
    from hypothesis import HealthCheck, settings

    if held := memory_folder.use_memory():
        config.add_cleanup(partial(memory_folder.end_of, held))
        # By itself pytest would make three folders there, and the path of a socket has at most 107 bytes.
        config.option.basetemp = config.option.basetemp or str(held.path / "p")
    settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those that take turns come first, so that the others fill the time beside them."""
    if not config.getoption("--products") and (left := products.left_out(items)):
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: rank(item.nodeid))


def takes_turns(nodeid: str) -> bool:
    """Whether a test is one of those that run one after the other in one process."""
    return nodeid.startswith(WITH_SERVERS) and not nodeid.startswith(ANYWHERE)


def rank(nodeid: str) -> int:
    if takes_turns(nodeid):
        return next(rank for rank, tier in enumerate(WITH_SERVERS) if nodeid.startswith(tier))
    return len(WITH_SERVERS) + (not nodeid.startswith(ANYWHERE))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `-n 2`: the tests that take turns are one unit of work, and each file of the others is one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByTier(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "with servers" if takes_turns(nodeid) else nodeid.partition("::")[0]

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
