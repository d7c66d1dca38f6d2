"""Failed attempts count across processes, for an address and the name it tries, and for the address alone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchseal.api import attempts
from batchseal.api.attempts import MAX_FOR_ADDRESS, MAX_FOR_NAME, Attempts
from batchseal.errors import TooManyRequests


def test_guessing_is_stopped_for_one_address_and_name(tmp_path: Path) -> None:
    table = Attempts(tmp_path / "attempts")
    for _ in range(MAX_FOR_NAME):
        table.check("10.0.0.1", "A")
        table.failed("10.0.0.1", "A")
    with pytest.raises(TooManyRequests) as stopped:
        table.check("10.0.0.1", "A")
    assert stopped.value.retry_after_seconds
    table.check("10.0.0.1", "B")
    table.check("10.0.0.2", "A")


def test_the_table_has_its_room_before_the_disk_is_full(tmp_path: Path) -> None:
    """A write to a mapped page without one would end the worker."""
    Attempts(tmp_path / "attempts").close()
    assert (tmp_path / "attempts").stat().st_blocks * 512 >= attempts.FILE_BYTES


def test_trying_many_names_is_stopped_for_the_address(tmp_path: Path) -> None:
    table = Attempts(tmp_path / "attempts")
    for number in range(MAX_FOR_ADDRESS):
        table.failed("10.0.0.1", str(number))
    with pytest.raises(TooManyRequests):
        table.check("10.0.0.1", "new")


def test_other_processes_see_the_failures(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from batchseal.api.attempts import Attempts\n"
        f"table = Attempts(Path({str(tmp_path / 'attempts')!r}))\n"
        f"for _ in range({MAX_FOR_NAME}): table.failed('10.0.0.1', 'A')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(TooManyRequests):
        Attempts(tmp_path / "attempts").check("10.0.0.1", "A")


def test_the_stop_ends_with_its_window(tmp_path: Path) -> None:
    began = now = time.monotonic()
    table = Attempts(tmp_path / "attempts", now=lambda: now)
    for _ in range(MAX_FOR_NAME):
        table.failed("10.0.0.1", "A")
    now = began + attempts.WINDOW_SECONDS - 1
    with pytest.raises(TooManyRequests):
        table.check("10.0.0.1", "A")
    now = began + attempts.WINDOW_SECONDS + 1
    table.check("10.0.0.1", "A")
