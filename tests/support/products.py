"""Some of a product of parameters: every value of each parameter beside every value of each other one.

A test with the mark `product` takes long and has several parameters. The suite runs it with so many of the combinations that each
pair of values is among them; `--products` runs all.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest

MARK = "product"
Combination = Mapping[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]


def pairs(combination: Combination) -> set[Pair]:
    """Every two of its values, with the names of their parameters."""
    return set(combinations(sorted(combination.items()), 2))


def pairwise(product: Sequence[Mapping[str, int]]) -> list[int]:
    """Which of the combinations have each pair that is in any of them, by their places.

    A combination is given as the number of each parameter's value. Those whose numbers add up to a multiple of the length of the
    longest list of values come first: where three lists have that length, no others are needed.
    """
    if any(len(one) < 2 for one in product):
        return list(range(len(product)))
    longest = max(number for one in product for number in one.values()) + 1
    order = sorted(range(len(product)), key=lambda place: sum(product[place].values()) % longest != 0)
    seen: set[Pair] = set()
    chosen = []
    for place in order:
        if new := pairs(product[place]) - seen:
            chosen.append(place)
            seen |= new
    return sorted(chosen)


def left_out(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Those of the marked tests that the suite does not run."""
    functions: dict[str, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker(MARK):
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left: list[pytest.Item] = []
    for product in functions.values():
        chosen = pairwise([item.callspec.indices for item in product])
        left += [item for place, item in enumerate(product) if place not in chosen]
    return left
