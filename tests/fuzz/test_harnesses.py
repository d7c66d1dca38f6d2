"""Each harness runs on its seeds, and finds a planted bug."""

from pathlib import Path

import pytest
from tests.fuzz.harnesses import HARNESSES, fuzz, missing


@pytest.mark.parametrize("name", HARNESSES)
def test_harness(name: str, tmp_path: Path) -> None:
    if why := missing(name):
        pytest.skip(why)
    (tmp_path / "clean").mkdir()
    (tmp_path / "canary").mkdir()
    assert fuzz(name, tmp_path / "clean", runs=2000)["runs"] >= 2000
    with pytest.raises(AssertionError, match=r"canary|heap-buffer-overflow"):
        fuzz(name, tmp_path / "canary", seconds=60, canary=True)
