"""The limit of open files: raised as far as it goes, and named where that is not far enough."""

import subprocess
import sys

import pytest

from batchseal.processes.open_files import MAX_CONNECTIONS, OTHER_FILES, connections_within, low_open_files

ENOUGH = MAX_CONNECTIONS + OTHER_FILES


def under(soft: int, hard: int, code: str) -> str:
    """What `code` prints in a process with these limits."""
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
    done = subprocess.run([sys.executable, "-c", f"{limits}\n{code}"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


RAISE = """
import resource, subprocess, sys
from batchseal.processes.open_files import raise_open_files
said = raise_open_files(500)
child = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
print(said, resource.getrlimit(resource.RLIMIT_NOFILE)[0], subprocess.check_output([sys.executable, "-c", child]).decode())
"""


@pytest.mark.parametrize(("soft", "hard", "after"), [(100, 1000, 500), (100, 300, 300), (700, 1000, 700)])
def test_it_is_raised_as_far_as_it_goes(soft: int, hard: int, after: int) -> None:
    assert under(soft, hard, RAISE).split() == [str(after)] * 3


def test_connections_leave_descriptors_for_the_payloads() -> None:
    assert connections_within(ENOUGH) == connections_within(sys.maxsize) == MAX_CONNECTIONS
    for limit in (256, 1024, 4096, 20_000):
        assert limit // 2 <= connections_within(limit) < limit


def test_a_low_limit_is_named() -> None:
    assert low_open_files(ENOUGH) == ""
    remark = low_open_files(4096)
    for fact in ("4096 open files", "3096 connections", str(ENOUGH)):
        assert fact in remark


def test_the_check_says_so() -> None:
    code = """
import asyncio
from batchseal.commands.check import check_open_files
from batchseal.settings.load import Settings
print(asyncio.run(check_open_files(Settings())))
"""
    assert under(100, 1024, code).startswith("at most 1024 open files are allowed")


def test_the_service_says_so_when_it_starts(tmp_path) -> None:
    flags = ["--port=0", f"--temp-folder={tmp_path}/temp", f"--work-folder={tmp_path}/work"]
    limited = 'ulimit -n 1024; exec "$@"'
    command = ["bash", "-c", limited, "limited", sys.executable, "-m", "batchseal.cli", "serve", *flags]
    service = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert service.stderr is not None
        # Said before any of its processes is started; the stream ends where it is not.
        assert any("at most 1024 open files are allowed" in line for line in service.stderr)
    finally:
        service.terminate()
        service.communicate(timeout=240)
