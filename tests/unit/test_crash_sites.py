"""Crash sites: the documented ones are those in the code, and an armed one ends the process at the pass that was asked for."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchseal.system.crash_sites import SITES

SOURCE = Path(__file__).parents[2] / "src" / "batchseal"


def test_every_documented_site_stands_in_the_code() -> None:
    code = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py") if path.name != "crash_sites.py")
    assert len(SITES) >= 14
    for site in SITES:
        assert f'"{site}"' in code, f"{site} is nowhere"
    assert set(re.findall(r'crash_site\("([^"]+)"\)', code)) <= set(SITES)


@pytest.mark.parametrize(
    ("armed", "passes", "ends"), [("a", 1, True), ("a:3", 2, False), ("a:3", 3, True), ("", 9, False), ("b", 9, False)]
)
def test_an_armed_site_ends_the_process(armed: str, passes: int, ends: bool) -> None:
    code = f"from batchseal.system.crash_sites import arm, crash_site\narm({armed!r})\nfor _ in range({passes}): crash_site('a')"
    status = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert status == (-signal.SIGKILL if ends else 0)
