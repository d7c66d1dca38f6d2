"""The benchmark of payload stores, in a tiny size: it ends, and says what its file is to say."""

import json
from pathlib import Path

from benchmarks import store_cost


def test_the_figures_are_there_and_flat(tmp_path: Path) -> None:
    found = store_cost.measure(count=60, size_bytes=200_000, rounds=1)
    path = tmp_path / "instances.json"
    path.write_text('{"another_figure": 1}')
    store_cost.merged(path, found, {"commit": "none", "date": "today"})
    written = json.loads(path.read_text())
    assert written["another_figure"] == 1
    assert written["s3_upload_cpu_over_local"] > 0
    assert all(isinstance(value, int | float) for name, value in written.items() if name != "taken")
