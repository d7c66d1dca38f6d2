"""The real service, started and stopped: what it says on its way out."""

import json
from pathlib import Path

import pytest
from harness.service import RunningService
from harness.waiting import until
from tests.support.service import FAST


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
def test_a_shutdown_says_nothing_unexpected(tmp_path: Path, host: str, warnings: int) -> None:
    """Standard error holds sentences of the supervisor and JSON lines of the others: a traceback is neither.

    That the network could read along is said once, and only where the service listens to the network.
    """
    with RunningService(*FAST, f"--host={host}", folder=tmp_path) as service:
        # The workers answer a moment before the supervisor has heard of it and says so.
        until(lambda: "batchseal: ready at " in service.log.read_text())
    assert service.process.returncode == 0
    lines = service.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("batchseal: ready at ")]
    assert [line for line in lines if not line.startswith("batchseal: ") and not is_json(line)] == []
    assert sum("without TLS" in line for line in lines) == warnings


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
