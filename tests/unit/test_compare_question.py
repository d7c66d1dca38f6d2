"""What `batchseal compare` ends with where its question is declined, or cannot be asked."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from batchseal.commands.compare import DECLINED


def compare(document: Path, stdin: int) -> subprocess.CompletedProcess[str]:
    services = ("--old=http://127.0.0.1:9", "--new=http://127.0.0.1:9", "--client-id=A")
    command = [sys.executable, "-m", "batchseal.cli", "compare", *services, str(document)]
    environment = {**os.environ, "BATCHSEAL_SECRET": "a secret of sixteen"}
    return subprocess.run(
        command, stdin=stdin, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "invoice.pdf"
    path.write_bytes(b"%PDF-1.7")
    return path


@pytest.mark.parametrize("said", [b"n\n", b"\n", b"\x04"], ids=["no", "nothing", "the end of the input"])
def test_to_decline_is_no_wrong_use(document: Path, said: bytes) -> None:
    controller, terminal = pty.openpty()
    try:
        os.write(controller, said)
        ended = compare(document, terminal)
    finally:
        os.close(controller)
        os.close(terminal)
    assert ended.returncode == DECLINED == 3, ended.stderr
    assert "Go on? [y/N]" in ended.stdout and not ended.stderr


def test_without_a_terminal_the_flag_is_needed(document: Path) -> None:
    ended = compare(document, subprocess.DEVNULL)
    assert ended.returncode == 2 and "--yes" in ended.stderr
