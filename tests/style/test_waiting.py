"""Tests wait for what they can see, and are given their timings; they do not sleep, and do not reach into what they test."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.style import rules

TESTS = Path(__file__).parents[1]
Rule = Callable[[str], Iterator[str]]

# Where sleeping is what is meant, by file and function.
POLLS = "this is how all other tests wait"
RANDOM = "the moment of the fault is chosen by chance, or another one in each trial"
LOAD = "a load goes on for this time"
SLOW = "this double is slow, which is what is tested"
MAY_SLEEP = {
    "support/waiting.py::until": POLLS,
    "support/waiting.py::eventually": POLLS,
    "support/api_worker.py::MemoryService.wait": SLOW,
    "support/altering_proxy.py::AlteringProxy.wait": SLOW,
    "support/responder.py::Responder.drip": SLOW,
    "unit/test_api_exchange.py::replied.send": SLOW,
    "unit/test_upstream_lane.py::Calls.__call__": SLOW,
    "unit/test_upstream_lane.py::test_small_orders_within_50_ms_travel_together.later": "orders arrive one after another",
    "integration/test_upstream_faults.py::test_a_token_that_ends_is_renewed_once_for_all.call": "calls begin at any time",
    "integration/test_api_adversity.py::test_a_caller_who_stops_reading_is_noticed_and_holds_no_memory": (
        "the caller reads nothing for so long, and nothing shows that the service would still read ahead"
    ),
    "integration/test_store_leases.py::test_the_commit_of_the_end_waits_for_the_disk_and_fails_with_it": POLLS,
    "integration/test_store_leases.py::test_a_claim_during_a_write_waits_for_it": (
        "that a statement waits for another shows only in that it has not ended"
    ),
    "adversity/drills/crashes.py::kill_random.trial": RANDOM,
    "adversity/drills/hot_buckets.py::hot_bucket.trial": "the store is away for a while, then a moment at random",
    "adversity/drills/hot_folders.py::hot_folder.trial": RANDOM,
    "adversity/drills/long_term.py::kill_random_lt.trial": RANDOM,
    "adversity/drills/shared_stores.py::random_kills.trial": RANDOM,
    "adversity/drills/power.py::power_cuts.cut": RANDOM,
    "adversity/drills/singles.py::kill_random_singles.trial": RANDOM,
    "adversity/drills/clock.py::jump": "the clock jumps while the operation is signed, and a round of duties has no end to see",
    "adversity/drills/trouble.py::postgres_trouble.trial": RANDOM,
    "adversity/drills/trouble.py::disk_full.trial": "the caller stalls in the middle of its body",
    "adversity/drills/instance_kills.py::a_moment": RANDOM,
    "adversity/drills/instances.py::instance_stopped.trial": "the instance is stopped for so long",
    "adversity/drills/instances.py::instances_without_database.trial": "the database is away for so long",
    "adversity/drills/trouble.py::away": LOAD,
    "adversity/drills/trouble.py::slow_sockets.trial": LOAD,
    "adversity/drills/shutdown.py::sigterm.trial": RANDOM,
    "adversity/drills/takeover.py::lives": LOAD,
    "adversity/drills/store_away.py::stay_in_the_balancer": LOAD,
    "support/traffic.py::Paced.__call__": LOAD,
    "support/traffic.py::Traffic.upload": "the upload takes so long",
    "support/traffic.py::Slow.recv_into": "the reader is slow",
    "adversity/drills/load.py::Load._submit": LOAD,
    "adversity/drills/load.py::full_load": LOAD,
    "adversity/drills/headers.py::send": "the flood has the rate of a network",
    "adversity/drills/judge.py::own_bytes": "samples of a figure that changes",
    "container/volume.py::survive_kills": RANDOM,
    "container/load.py::CountingClient._until_taken": "the client heeds the pause that the service asks for",
}
# What is reached by no public way yet.
MAY_PATCH_CONSTANTS = {
    "integration/test_housekeeping.py",
    "unit/test_file_payloads.py",
    "support/checksum_app.py",  # the line with which a format is added
}
MAY_REACH_IN = {"unit/test_file_payloads.py"}
RULES: tuple[Rule, ...] = (rules.sleeps, rules.patched_constants, rules.private_attributes)


def sources() -> dict[str, str]:
    """The source of each file of the tests, by its path below `tests`."""
    return {str(path.relative_to(TESTS)): path.read_text("utf-8") for path in sorted(TESTS.rglob("*.py"))}


@cache
def findings() -> dict[Rule, dict[str, list[str]]]:
    """What each rule finds, by file. A file is parsed once for all rules, which is most of the work."""
    found: dict[Rule, dict[str, list[str]]] = {rule: {} for rule in RULES}
    for path, source in sources().items():
        for rule in RULES:
            found[rule][path] = list(rule(source))
    return found


def broken(rule: Rule, allowed: set[str]) -> list[str]:
    return [f"{path}:{what}" for path, found in findings()[rule].items() if path not in allowed for what in found]


def sleeping() -> dict[str, str]:
    """Where in the tests `sleep` is called, by file and function."""
    found = {}
    for path, places in findings()[rules.sleeps].items():
        for what in places:
            line, _, function = what.partition(": ")
            found[f"{path}::{function}"] = f"tests/{path}:{line}"
    return found


def test_no_test_sleeps_for_a_fixed_time() -> None:
    """Wait with `harness.waiting`, or for an event of a double of your own."""
    assert {place: line for place, line in sleeping().items() if place not in MAY_SLEEP} == {}


def test_every_exception_is_needed() -> None:
    there = {place for place in MAY_SLEEP if place.partition("::")[0] in findings()[rules.sleeps]}
    assert there - sleeping().keys() == set()


def test_no_test_changes_a_constant_of_a_module() -> None:
    """Give the part another pace: a frozen settings object, or an argument with a default."""
    assert broken(rules.patched_constants, MAY_PATCH_CONSTANTS) == []


def test_no_test_uses_a_private_attribute() -> None:
    assert broken(rules.private_attributes, MAY_REACH_IN) == []


@pytest.mark.parametrize(
    ("rule", "sample"),
    [
        (rules.sleeps, "import time\ntime.sleep(1)"),
        (rules.sleeps, "async def f():\n    await asyncio.sleep(0.1)"),
        (rules.sleeps, "def f():\n    while not x:\n        sleep(pause)"),
        (rules.sleeps, "class A:\n    def f(self):\n        def g():\n            time.sleep(0.5)"),
        (rules.patched_constants, "monkeypatch.setattr(lane, 'PAUSE_SECONDS', 0.1)"),
        (rules.patched_constants, "monkeypatch.setattr('batchseal.store.PAUSE_SECONDS', 0.1)"),
        (rules.patched_constants, "lane.PAUSE_SECONDS = 0.1"),
        (rules.private_attributes, "service._store.close()"),
        (rules.private_attributes, "service()._store.close()"),
        (rules.private_attributes, "service.store._pool = None"),
        (rules.private_attributes, "monkeypatch.setattr(sweeps, '_lock', lock)"),
    ],
)
def test_rules_see_what_breaks_them(rule: Rule, sample: str) -> None:
    assert len(list(rule(sample))) == 1


@pytest.mark.parametrize(
    ("rule", "sample"),
    [
        (rules.sleeps, "async def f():\n    await asyncio.sleep(0)"),
        (rules.patched_constants, "monkeypatch.setattr(Store, 'register', late)"),
        (rules.private_attributes, "self._store = sys._getframe()"),
        (rules.private_attributes, "super()._store()"),
        (rules.private_attributes, "os._exit(type(a).__name__)"),
    ],
)
def test_rules_let_pass_what_is_right(rule: Rule, sample: str) -> None:
    assert not list(rule(sample))


def test_a_sleep_is_named_by_its_function() -> None:
    nested = (
        "class A:\n    def f(self):\n        def g():\n            time.sleep(0.5)\n        if x:\n            sleep(1)"
    )
    assert list(rules.sleeps(nested)) == ["6: A.f", "4: A.f.g"]
