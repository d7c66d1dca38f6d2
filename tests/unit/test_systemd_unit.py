"""The systemd unit: systemd takes it, it names settings that there are, and it leaves the service little that it could do."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import tools

from batchseal.settings.load import OPTIONS, environment_names

UNIT = Path(__file__).parents[2] / "container" / "batchseal.service"
ANALYZE = tools.find("systemd-analyze")
judged = pytest.mark.skipif(ANALYZE is None, reason=tools.missing(["systemd-analyze"]))


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(ANALYZE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@judged
def test_systemd_takes_it(tmp_path: Path) -> None:
    """The only line that differs names a program that is here."""
    text = UNIT.read_text("utf-8")
    program = shutil.which("true")
    changed, count = re.subn(
        r"^ExecStart=/opt/batchseal/bin/batchseal serve$", f"ExecStart={program}", text, flags=re.MULTILINE
    )
    assert count == 1
    unit = tmp_path / "batchseal.service"
    unit.write_text(changed)
    done = analyze("verify", "--recursive-errors=no", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(changed.replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    assert "strictly" in analyze("verify", "--recursive-errors=no", "--man=no", unit).stderr, "a mistake would be said"


@judged
def test_little_is_left_to_the_service() -> None:
    """systemd rates units from 0 (closed) to 10 (open). A unit without any restriction has 9.6."""
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout
    (level,) = re.findall(r"Overall exposure level for batchseal.service: ([\d.]+)", done.stdout)
    print(f"systemd_exposure_level {level}", file=sys.stderr)
    assert float(level) <= 1.6


def test_its_variables_are_settings() -> None:
    known = {name for option in OPTIONS for name in environment_names(option)}
    (line,) = re.findall(r"^Environment=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    named = {word.partition("=")[0] for word in line.split()}
    assert named - {"MALLOC_ARENA_MAX"} <= known
    assert {"BATCHSEAL_WORK_FOLDER", "BATCHSEAL_AUDIT_FOLDER"} <= named
