"""Work that runs in the event loop where the last work of its client was brief."""

import time

import pytest

from batchseal.system.brief import BRIEF_PROCESSOR_SECONDS, BriefWork


def busy() -> str:
    ends = time.thread_time() + BRIEF_PROCESSOR_SECONDS * 2
    while time.thread_time() < ends:
        pass
    return "busy"


def test_nothing_is_brief_before_it_was_measured() -> None:
    work = BriefWork()
    assert not work.of("a").is_brief
    assert work.of("a").run(lambda: "done") == "done"
    assert work.of("a").is_brief and not work.of("b").is_brief and not work.of("a", b"another credential").is_brief


def test_what_takes_the_processor_is_not_brief() -> None:
    work = BriefWork().of("a")
    work.run(int)
    assert work.run(busy) == "busy" and not work.is_brief
    work.run(int)
    assert work.is_brief


def test_what_waits_makes_nobodys_work_brief() -> None:
    """It has waited for the disk, which is slow for all of them."""
    work = BriefWork()
    work.of("a").run(int)
    assert work.of("a").is_brief
    work.seconds = 0.0
    work.of("b").run(int)
    assert not work.of("a").is_brief and not work.of("b").is_brief


def test_a_disk_that_was_slow_is_tried_again() -> None:
    work = BriefWork(seconds=0.0, known_seconds=0.0)
    work.of("a").run(int)
    assert time.monotonic() >= work.slow_until


def test_what_fails_is_measured_too() -> None:
    work = BriefWork().of("a")
    with pytest.raises(ZeroDivisionError):
        work.run(lambda: 1 / 0)
    assert work.is_brief


def test_an_old_measurement_does_not_count() -> None:
    work = BriefWork(known_seconds=0.0).of("a")
    work.run(int)
    assert not work.is_brief
