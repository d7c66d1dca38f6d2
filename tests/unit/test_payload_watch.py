"""What is refused, and what is tried, while a payload store does not answer."""

import threading
from collections.abc import Callable

import pytest
from harness.waiting import until

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.watch import Watch, WatchPace

SELDOM = 3600.0


class Probe:
    """Answers as it is told, once it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> None:
        self.calls += 1
        assert self.go.wait(120)
        if self.fails:
            raise PayloadUnavailable("the probe failed")


def refused(call: Callable[[], None]) -> bool:
    cause: PayloadUnavailable | None = None
    try:
        call()
    except PayloadUnavailable as problem:
        cause = problem
    assert cause is None or cause.retry_after_seconds
    return cause is not None


def test_nobody_waits_for_a_store_that_is_away() -> None:
    watch = Watch(Probe(), WatchPace(probe_seconds=SELDOM))
    assert not refused(watch.let_through)
    watch.failed("it cannot be reached")
    assert watch.is_away
    assert refused(watch.let_through)
    assert refused(watch.need)
    watch.answered()
    assert not watch.is_away
    assert not refused(watch.let_through)
    assert not refused(watch.need)


def test_one_call_in_a_while_is_let_through_to_try() -> None:
    watch = Watch(Probe(), WatchPace(probe_seconds=0))
    watch.failed("it cannot be reached")
    assert not refused(watch.let_through)
    assert watch.is_away, "until that call has succeeded"


def test_who_cannot_wait_has_it_probed() -> None:
    probe = Probe()
    watch = Watch(probe, WatchPace(probe_seconds=0))
    watch.failed("it cannot be reached")
    assert refused(watch.need)
    until(lambda: not watch.is_away)
    assert not refused(watch.need)


def test_a_store_that_was_silent_is_probed_before_a_body_is_read_for_nothing() -> None:
    probe = Probe()
    probe.fails = True
    watch = Watch(probe, WatchPace(quiet_seconds=0, probe_seconds=SELDOM))
    assert not refused(watch.need), "nothing is known yet"
    until(lambda: watch.is_away)
    assert probe.calls == 1
    assert refused(watch.need)


def test_a_probe_that_hangs_means_away_and_is_not_followed_by_others() -> None:
    probe = Probe()
    probe.go.clear()
    watch = Watch(probe, WatchPace(quiet_seconds=0, patience_seconds=0))
    watch.need()
    until(lambda: refused(watch.need))
    assert probe.calls == 1
    probe.go.set()
    until(lambda: not watch.is_away)


@pytest.mark.parametrize("calls", [2, 20])
def test_many_who_ask_at_once_start_one_probe(calls: int) -> None:
    probe = Probe()
    probe.go.clear()
    watch = Watch(probe, WatchPace(quiet_seconds=0, patience_seconds=SELDOM))
    for _ in range(calls):
        watch.need()
    assert probe.calls <= 1
    probe.go.set()
    until(lambda: probe.calls == 1)


def test_the_first_answer_is_waited_for_and_not_for_ever() -> None:
    probe = Probe()
    watch = Watch(probe, WatchPace(probe_seconds=SELDOM))
    assert not refused(lambda: watch.need_answer(120))
    assert probe.calls == 1
    probe.go.clear()
    silent = Watch(probe, WatchPace(probe_seconds=SELDOM))
    assert refused(lambda: silent.need_answer(0.01))
    assert refused(silent.need), "nobody else waits for it"
    until(lambda: probe.calls == 2)
    probe.go.set()
    until(lambda: not silent.is_away)
    probe.fails = True
    failing = Watch(probe, WatchPace(probe_seconds=SELDOM))
    assert refused(lambda: failing.need_answer(20))
