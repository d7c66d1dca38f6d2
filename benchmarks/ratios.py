"""Judges two revisions by pairs of figures: medians, the ratio with its 95 % interval, and a verdict.

The interval is the exact one of Wilcoxon's signed-rank test: the logarithms of the pairs' ratios are averaged two by two
(Walsh averages), and as many of the outermost are left out on each side as the test allows. It assumes no distribution
except that the logarithms lie symmetrically around their middle, and it needs six pairs to reach 95 %.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

INTERVAL = "exact 95 % interval of Wilcoxon's signed-rank test (Walsh averages of the pairs' log ratios)"
NOT_COVERED = 0.05
LEAST_PAIRS = 6
# A loss below this is not told apart from none, however narrow the interval is.
ALLOWED_LOSS = 0.02
NOT_WORSE, BETTER, WORSE = "not worse", "better", "WORSE"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both revisions. `ratio` is checkout over base; `low` and `high` are the ends of its interval."""

    figure: str
    lower_is_better: bool
    base: float
    checkout: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        loss = self.ratio - 1 if self.lower_is_better else 1 - self.ratio
        if self.low <= 1 <= self.high:
            return NOT_WORSE
        if (self.high < 1) == self.lower_is_better:
            return BETTER
        return NOT_WORSE if loss < ALLOWED_LOSS else WORSE


def compare(figure: str, base: Sequence[float], checkout: Sequence[float], *, lower_is_better: bool) -> Comparison:
    """`base` and `checkout` hold one positive value of each pair, in the same order. Raises ValueError otherwise."""
    if len(base) != len(checkout) or not base:
        raise ValueError(f"{figure}: {len(base)} and {len(checkout)} values are no pairs")
    if min(*base, *checkout) <= 0:
        raise ValueError(f"{figure}: there is no ratio with {min(*base, *checkout)}")
    low, high = interval([math.log(own / other) for other, own in zip(base, checkout, strict=True)])
    medians = statistics.median(base), statistics.median(checkout)
    return Comparison(figure, lower_is_better, *medians, medians[1] / medians[0], math.exp(low), math.exp(high))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The signed-rank interval for the middle of `values`; with fewer than six of them all that they span."""
    walsh = sorted((one + other) / 2 for place, one in enumerate(values) for other in values[place:])
    left_out = max(1, outermost(len(values)))
    return walsh[left_out - 1], walsh[-left_out]


def outermost(count: int) -> int:
    """Which Walsh average, counted from the outside, bounds the interval; 0 where even the last one does not."""
    # ways[n]: how many sets of different ranks from 1 to `count` have the sum n.
    ways = [1] + [0] * (count * (count + 1) // 2)
    for rank in range(1, count + 1):
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    place, below = 0, 0
    while 2 * (below + ways[place]) <= NOT_COVERED * 2**count:
        below += ways[place]
        place += 1
    return place


def table(comparisons: Iterable[Comparison]) -> Table:
    """For the terminal, one row a figure."""
    rows = Table()
    for title in ("figure", "base", "checkout", "ratio", "95 % interval", "better is", "verdict"):
        rows.add_column(title, justify="left" if title in ("figure", "better is", "verdict") else "right")
    for one in comparisons:
        rows.add_row(
            one.figure,
            f"{one.base:.5g}",
            f"{one.checkout:.5g}",
            f"{one.ratio:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            "lower" if one.lower_is_better else "higher",
            one.verdict,
        )
    return rows
