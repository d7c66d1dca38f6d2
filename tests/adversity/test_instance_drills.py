"""A few trials of each drill about several instances and the payload stores that they share: `make test-instances`."""

import pytest
from tests.adversity.drills.registry import DRILLS, Drill
from tests.adversity.test_drills import passes

SUITE = [one for one in DRILLS.values() if one.quick and one.apart]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("one", SUITE, ids=lambda one: one.name)
def test_drill(one: Drill) -> None:
    passes(one)
