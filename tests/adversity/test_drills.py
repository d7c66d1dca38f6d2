"""A few trials of each drill; `make drills` runs them in full."""

import os
from pathlib import Path

import pytest
from tests.adversity.drills import catalogue  # noqa: F401
from tests.adversity.drills.registry import DRILLS, Drill, run
from tests.adversity.drills.trouble import MKFS

SUITE = [one for one in DRILLS.values() if one.quick]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("one", SUITE, ids=lambda one: one.name)
def test_drill(one: Drill, tmp_path: Path) -> None:
    if one.name == "disk-full" and (os.geteuid() or not MKFS):
        pytest.skip("mounting a small file system needs root and mkfs.ext4")
    tmp_path.chmod(0o711)
    result = run(one, one.quick, tmp_path, print)
    assert result["failures"] == 0, result["first_failure"]
