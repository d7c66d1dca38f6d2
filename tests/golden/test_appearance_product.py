"""A part of the whole product of visible signatures, so that what runs all of it by hand stays usable."""

from collections import Counter
from pathlib import Path

from harness.validators import judging
from tests.support.appearance_product import cases, judge

from batchseal.signature import LocationType


def test_some_of_all_combinations_are_where_they_belong(tmp_path: Path) -> None:
    everything = cases()
    assert len(everything) == len(set(everything)) == 3 * 4 * 2 * 2 * 2 * 4 * 2
    chosen, counts = everything[7::97], Counter[str]()
    assert {case.kind for case in chosen} == set(LocationType)
    with judging():
        assert judge(chosen, tmp_path, counts) == []
    assert counts["pyHanko"] == counts["pdfsig"] == counts["iText"] == len(chosen)
    assert counts["Preflight"]
