"""The benchmarks of several instances, in a tiny size, without an object store and without the drill that one of them repeats."""

import json
from functools import partial
from pathlib import Path

import pytest
from benchmarks import instances, several_instances
from harness.provenance import TAKEN, provenance


def test_figures_of_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "instances.json"
    path.write_text('{"s3_upload_cpu_over_local": 1.25, "taken": {"stores": {"commit": "1"}}}')
    small = partial(several_instances.measure, 30, 50_000, 1, batch_count=10, batches_each=1)
    tiny = partial(small, take_overs=0, with_objects=False)
    monkeypatch.setattr(instances, "parts", lambda smoke: {"stores": dict, "instances": tiny, "encryption": dict})
    assert instances.main(["instances", "--smoke", f"--results={path}"]) == 0
    kept = json.loads(path.read_text())
    of_instances = {name for name in instances.FIGURES if "shared_foreign" in name or "two_instances" in name}
    assert all(kept[name] > 0 for name in of_instances)
    assert kept["s3_upload_cpu_over_local"] == 1.25
    assert kept[TAKEN] == {"stores": {"commit": "1"}, "instances": provenance()}
    assert kept["machine"]


def test_the_numbers_of_a_small_run_are_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        instances.main(["--smoke"])
    assert "--results" in capsys.readouterr().err
