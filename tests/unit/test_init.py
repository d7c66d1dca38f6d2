"""Process number 1 of a container, in a process namespace of its own."""

import os
import subprocess
import sys

import pytest

# Namespaces need root, or user namespaces.
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", *(() if os.getuid() == 0 else ("--map-root-user",)))
ALLOWED = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not ALLOWED, reason="no process namespaces here")

ORPHAN = """
import os, sys, time
from batchseal.init import stand_in_as_init
stand_in_as_init()
assert os.getpid() != 1
if os.fork() == 0:  # its child becomes an orphan that ends by itself
    if os.fork():
        os._exit(0)
    time.sleep(0.2)
    os._exit(0)
os.wait()
time.sleep(0.6)
states = [open(f"/proc/{p}/stat").read().rpartition(")")[2].split()[0] for p in os.listdir("/proc") if p.isdigit()]
print("zombies", states.count("Z"))
sys.exit(7)
"""

SIGNALLED = """
import os, signal, sys, time
from batchseal.init import stand_in_as_init
stand_in_as_init()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
os.kill(1, signal.SIGTERM)
time.sleep(10)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [*UNSHARE, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_orphans_are_reaped_and_the_exit_code_is_the_services() -> None:
    result = run(ORPHAN)
    assert (result.returncode, result.stdout) == (7, "zombies 0\n"), result.stderr


def test_signals_reach_the_service() -> None:
    assert run(SIGNALLED).returncode == 5


def test_a_killed_service_ends_the_container_as_a_shell_would_say() -> None:
    killed = SIGNALLED.replace("os.kill(1, signal.SIGTERM)", "os.kill(os.getpid(), signal.SIGKILL)")
    assert run(killed).returncode == 128 + 9
