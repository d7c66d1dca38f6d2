"""`--force.database.recreate=true` in a command line that is kept, with the real service."""

from pathlib import Path

import pytest
from harness.service import RunningService
from tests.support.service import FAST

LINE = (*FAST, "--force.database.recreate=true")


def test_the_same_command_line_is_refused_the_second_time(tmp_path: Path) -> None:
    with RunningService(*LINE, folder=tmp_path):
        pass
    with pytest.raises(SystemExit, match="acts once: nothing was deleted now"):
        RunningService(*LINE, folder=tmp_path).__enter__()
    with RunningService(*FAST, folder=tmp_path):
        pass  # without the setting it goes on, and the setting may be used again
    with RunningService(*LINE, folder=tmp_path):
        pass
