"""The real service, started and stopped: what it says on its way out."""

import json
from pathlib import Path

from harness.service import RunningService
from tests.support.service import FAST


def test_a_shutdown_says_nothing_unexpected(tmp_path: Path) -> None:
    """Standard error holds sentences of the supervisor and JSON lines of the others: a traceback is neither."""
    with RunningService(*FAST, folder=tmp_path) as service:
        pass
    assert service.process.returncode == 0
    lines = service.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("batchseal: ready at ")]
    assert [line for line in lines if not line.startswith("batchseal: ") and not is_json(line)] == []


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
