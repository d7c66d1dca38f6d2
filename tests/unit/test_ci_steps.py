"""The steps of CI: each is timed and named in a table, and all together have a budget."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(script: str, budget_minutes: int = 60) -> tuple[int, list[str], str]:
    """Exit code, the lines of the table, and standard error of a script over .ci/steps.sh."""
    given = f"set -euo pipefail; budget_minutes={budget_minutes}; source .ci/steps.sh; {script}"
    done = subprocess.run(["bash", "-c", given], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.partition("step ")[2].splitlines()[1:], done.stderr


def test_every_step_stands_in_the_table() -> None:
    code, table, _ = run("step 'the first' true; skip_step second 'it cannot be'; step third true")
    assert code == 0
    assert [line.split()[0] for line in table] == ["the", "second", "third", "all"]
    assert table[0].split()[2:] == ["0:00", "ok"]
    assert table[1].endswith("SKIPPED, as it cannot be")


def test_a_failed_step_ends_the_run_and_stands_in_the_table() -> None:
    code, table, _ = run("step first true; step second bash -c 'exit 3'; step third true")
    assert code == 3
    assert [line.split()[0] for line in table] == ["first", "second", "all"]
    assert table[1].endswith("FAILED (3)")


def test_over_the_budget_the_run_fails() -> None:
    code, table, said = run("SECONDS=3700; step last true", budget_minutes=61)
    assert (code, said) == (1, "the steps took longer than 61 minutes\n")
    assert " 61:4" in table[-1]
    assert run("SECONDS=3600; step last true", budget_minutes=61)[0] == 0


def test_what_was_tested_before_is_left_out_where_its_minutes_are_used_up() -> None:
    script = "has_minutes 20 && step again true || skip_step again 'the time is used'"
    assert run(f"SECONDS=2300; {script}")[1][0].endswith("ok")
    assert run(f"SECONDS=2500; {script}")[1][0].endswith("SKIPPED, as the time is used")


def pyenv(folder: Path, version: str, script: str) -> Path:
    """An interpreter among the versions of a pyenv."""
    python = folder / "versions" / version / "bin" / f"python{version.rpartition('.')[0]}"
    python.parent.mkdir(parents=True)
    python.write_text(script)
    python.chmod(0o755)
    return python


def newer_python(folder: Path, than_minor: int) -> tuple[int, str]:
    than = folder / "than"
    than.write_text(f"#!/bin/sh\necho {than_minor}\n")
    than.chmod(0o755)
    tools = folder / "tools"
    if not tools.exists():
        tools.mkdir()
        for tool in ("dirname", "sed", "sort"):  # and no interpreter of this machine
            (tools / tool).symlink_to(shutil.which(tool) or tool)
    environment = {"PATH": str(tools), "PYENV_ROOT": str(folder), "HOME": str(folder)}
    command = [str(ROOT / ".ci" / "newer-python"), str(than)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_the_newest_python_that_is_named_and_works_is_taken(tmp_path: Path) -> None:
    works, fails = "#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 1\n"
    pyenv(tmp_path, "3.99.0", works)  # pyproject.toml does not name it
    pyenv(tmp_path, "3.13.1", fails)
    taken = pyenv(tmp_path, "3.13.2", works)
    pyenv(tmp_path, "3.12.9", works)
    assert newer_python(tmp_path, 11) == (0, str(taken))
    assert newer_python(tmp_path, 12) == (0, str(taken))
    assert newer_python(tmp_path, 13) == (1, "")
