"""Runs certomancer (`harness/certomancer_peer.py`) in processes of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def process(*arguments: str | Path) -> Iterator[str]:
    """Gives the address that the process prints, and ends it in the end."""
    command = [sys.executable, "-m", "harness.certomancer_peer", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.terminate()
