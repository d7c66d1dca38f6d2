"""A process ends with the one that started it, by the signal that it asked for."""

import os
import select
import signal
import subprocess
import sys

import pytest

# The child asks for the signal, says so, and waits; its parent prints the child's id and waits to be killed.
CHILD = """
import os, signal, sys
from batchseal.system.parent import die_with_parent
number = int(sys.argv[1])
if number != signal.SIGKILL:
    signal.signal(number, lambda *_: (os.write(1, b"asked to end"), os._exit(0)))
die_with_parent(number)
os.write(1, b"waiting\\n")
while True:
    signal.pause()
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[1]], stdout=sys.stdout)
child.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_child_ends_with_its_parent(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(int(number))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        descriptor = parent.stdout.fileno()
        assert read(descriptor) == b"waiting\n"
        parent.kill()
        rest = b""
        while piece := read(descriptor):  # ends when the child, which holds the other end, has ended
            rest += piece
    assert rest == (b"" if number == signal.SIGKILL else b"asked to end")


def read(descriptor: int) -> bytes:
    assert select.select([descriptor], [], [], 20)[0], "nothing came for 20 seconds"
    return os.read(descriptor, 100)
