"""A child that never gets ready is ended, named and started anew, at the start of the service and while it runs."""

import asyncio
from pathlib import Path

import pytest
from tests.support.service import until

from batchseal.errors import ConfigurationError
from batchseal.processes.child import Child
from batchseal.processes.child_entry import read_arguments
from batchseal.settings.load import Settings
from batchseal.system.waits import Patience

# Its starts are counted in the file that it is given; those that are named hang, the others are ready and end when told. With
# "busy" it says ten times before that it is at work.
MODULE = """
import os, signal, sys, time
counts, hanging, ready = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3].partition("=")[2])
assert sys.stdin.buffer.read()
with open(counts, "a") as file:
    file.write(f"{os.getpid()}\\n")
number = len(open(counts).readlines())
if str(number) in hanging or "all" in hanging:
    time.sleep(600)
if "busy" in hanging:
    for _ in range(10):
        os.write(ready, b"\\n")
        time.sleep(0.4)
os.write(ready, f"ready {number}\\n".encode())
signal.pause()
"""


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hanging_child.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "counts"


def child_of(counts: Path, hanging: str, patience: Patience) -> Child:
    return Child("signer", "hanging_child", (str(counts), hanging), patience=patience)


def started(counts: Path) -> list[str]:
    """The process ids of all starts so far."""
    return counts.read_text().split() if counts.exists() else []


def alive(pid: str) -> bool:
    return Path("/proc", pid).exists()


async def test_a_child_that_hangs_is_started_anew(counts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = child_of(counts, "1", Patience(3.0))
    await child.spawn()
    try:
        assert await child.start(Settings()) == "ready 2"
        hung, ready = started(counts)
        assert not alive(hung)
        assert alive(ready)
        assert "the signer process: not ready within 3 s, given up in attempt 1 of 3" in capsys.readouterr().err
    finally:
        await child.end(0)


async def test_a_child_that_says_that_it_is_at_work_has_time(counts: Path) -> None:
    """As the signer does during the migration of a large database."""
    child = child_of(counts, "busy", Patience(3.0))
    await child.spawn()
    try:
        assert await child.start(Settings()) == "ready 1"
    finally:
        await child.end(0)


async def test_the_attempts_of_a_start_end(counts: Path) -> None:
    child = child_of(counts, "all", Patience(1.0, attempts=2))
    try:
        with pytest.raises(ConfigurationError, match="the signer process: not ready within 1 s in any of 2 attempts"):
            await child.start(Settings())
    finally:
        await child.end(0)
    assert not any(alive(pid) for pid in started(counts))


async def test_a_child_that_ends_by_itself_is_an_error_at_once() -> None:
    child = Child("signer", "no_such_module", patience=Patience(60))
    try:
        with pytest.raises(ConfigurationError, match="could not start"):
            await child.start(Settings())
    finally:
        await child.end(10)


async def test_a_restart_that_hangs_is_noticed(counts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first start is ready and dies, the second and the third hang: both attempts of a restart."""
    child = child_of(counts, "2,3", Patience(1.5, attempts=2))
    await child.start(Settings())
    watching = asyncio.create_task(child.keep_running(Settings(), lambda: False))
    try:
        assert child.process is not None
        child.process.kill()
        await asyncio.to_thread(until, lambda: len(started(counts)) == 4, 60)
        said = capsys.readouterr().err
        assert "signer ended unexpectedly (-9), starting it again" in said
        late = "the signer process: not ready within 1.5 s in any of 2 attempts"
        # The first pause was 0.2 s.
        assert f"signer is not back: {late}; starting it again in 0.4 s" in said
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await child.end(0)


@pytest.mark.parametrize(
    "arguments", [[], ["worker"], ["other", "--ready-fd=7"], ["worker", "--ready-fd=x"], ["worker", "7"]]
)
def test_a_child_takes_only_the_line_of_the_supervisor(arguments: list[str]) -> None:
    assert read_arguments(["worker", "--ready-fd=7"], ("signer", "worker")) == ("worker", 7)
    with pytest.raises(SystemExit, match="batchseal serve"):
        read_arguments(arguments, ("signer", "worker"))
