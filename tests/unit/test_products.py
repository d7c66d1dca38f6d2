"""Which combinations of parameters the suite runs of a long product."""

from itertools import product

import pytest
from tests.support.products import pairs, pairwise


@pytest.mark.parametrize(
    ("lengths", "count"), [((2, 2, 2), 4), ((3, 3, 3), 9), ((2, 2), 4), ((2, 3, 4), 13), ((2, 2, 2, 2), 7), ((3,), 3)]
)
def test_every_pair_is_among_them(lengths: tuple[int, ...], count: int) -> None:
    whole = [dict(zip("abcd", numbers, strict=False)) for numbers in product(*map(range, lengths))]
    chosen = [whole[place] for place in pairwise(whole)]
    assert {pair for one in chosen for pair in pairs(one)} == {pair for one in whole for pair in pairs(one)}
    assert {value for one in chosen for value in one.items()} == {value for one in whole for value in one.items()}
    assert len(chosen) == count
