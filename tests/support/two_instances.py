"""Two instances of the service on one database, with the same client services and payloads of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.service import RunningService
from harness.several import running_database
from tests.support.service import FAST


@contextmanager
def two_instances(folder: Path, *flags: str) -> Iterator[tuple[RunningService, RunningService]]:
    """Both sign with a sandbox of their own, for the client services of the first one."""
    with running_database(folder / "database") as url:
        common = (*FAST, "--workers=1", "--database-url", url, *flags)
        with RunningService(*common) as first:
            services = ("--sandbox=true", "--client-services-file", str(first.services_file))
            with RunningService(*common, *services) as second:
                second.services_file = first.services_file
                yield first, second
