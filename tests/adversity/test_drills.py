"""A few trials of each drill; `make drills` runs them in full.

Those about several instances and the stores that these share are in `test_instance_drills.py`: they take minutes.
"""

import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from tests.adversity.drills import catalogue  # noqa: F401
from tests.adversity.drills.registry import DRILLS, Drill, run
from tests.support.memory_folder import on_disk

SUITE = [one for one in DRILLS.values() if one.quick and not one.apart]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("one", SUITE, ids=lambda one: one.name)
def test_drill(one: Drill) -> None:
    passes(one)


def passes(one: Drill) -> None:
    if why := one.left_out:
        pytest.skip(why)
    # The database's account has to pass through: pytest's own folders are closed to it.
    where: AbstractContextManager[None] = on_disk() if one.on_disk else nullcontext()
    with where, tempfile.TemporaryDirectory(prefix="batchseal-drill-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        result = run(one, one.quick, folder, print)
    assert result["failures"] == 0, result["first_failure"]
