"""Pauses that grow from a first to a longest one."""

import pytest

from batchseal.system.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [Backoff(0.5, 3.0).pause_seconds(failures) for failures in range(6)]
    assert pauses == [0.5, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_growth_is_a_choice() -> None:
    assert [Backoff(1.0, 20.0, growth=3.0).pause_seconds(failures) for failures in (1, 2, 3, 4)] == [
        1.0,
        3.0,
        9.0,
        20.0,
    ]


@pytest.mark.parametrize("failures", [64, 1100, 10**9])
def test_no_number_of_failures_is_too_large(failures: int) -> None:
    assert Backoff(0.05, 2.0).pause_seconds(failures) == 2.0


def test_a_single_pause_may_be_all_there_is() -> None:
    assert [Backoff(2.0, 2.0).pause_seconds(failures) for failures in (0, 1, 2)] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 2.0), (2.0, 1.0, 2.0), (1.0, 2.0, 1.0)])
def test_pauses_that_would_not_grow_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="do not grow"):
        Backoff(*wrong)
