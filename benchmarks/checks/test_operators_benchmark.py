"""The benchmark of single documents beside operators, in a tiny size: operators get pages, and the figures are there."""

from benchmarks.beside_operators import measure


def test_the_figures_are_there() -> None:
    found = measure(rounds=1, requests=40)
    assert found["single_beside_operators_ms"] > 0
    assert found["single_without_operators_ms"] > 0
    assert found["single_beside_operators_over_alone"] > 0
    assert found["pages"] >= 1
