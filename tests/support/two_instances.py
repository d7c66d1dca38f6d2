"""Two instances of the service on one database, with the same client services and payloads of their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.service import RunningService
from tests.support.database import SUPERVISOR
from tests.support.service import FAST


@contextmanager
def two_instances(folder: Path, *flags: str) -> Iterator[tuple[RunningService, RunningService]]:
    """Both sign with a sandbox of their own, for the client services of the first one."""
    database = subprocess.Popen([sys.executable, "-c", SUPERVISOR, folder / "database"], stdout=subprocess.PIPE)
    try:
        assert database.stdout is not None
        line = database.stdout.readline()
        assert line, "the database did not start"
        common = (*FAST, "--workers=1", "--database-url", json.loads(line), *flags)
        with RunningService(*common) as first:
            services = ("--sandbox=true", "--client-services-file", str(first.services_file))
            with RunningService(*common, *services) as second:
                second.services_file = first.services_file
                yield first, second
    finally:
        database.terminate()
        database.wait(30)
        if database.stdout is not None:
            database.stdout.close()
