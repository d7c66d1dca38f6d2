"""The cost of encrypted payloads is measured, and figures of several benchmarks stand side by side in one file."""

import json
from pathlib import Path

from benchmarks import encryption_ratio
from benchmarks.kept import keep
from harness.provenance import TAKEN, provenance


def test_smoke(tmp_path: Path) -> None:
    path = tmp_path / "results" / "instances.json"
    encryption_ratio.main(["--count=4", "--large=1", "--rounds=1", f"--results={path}"])
    kept = json.loads(path.read_text())
    assert 1 < kept["encrypted_bytes_over_payload"] < 1.01
    assert all(kept[f"encrypted_{load}{what}_cpu_ratio"] > 0 for load in ("", "large_") for what in ("write", "read"))
    assert kept[TAKEN] == {"encryption": provenance()}


def test_figures_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"of_stores": 1.5, "replaced": 2, TAKEN: {"stores": {"commit": "1"}}}))
    keep(path, "encryption", {"replaced": 0.123456, "new": 3})
    assert json.loads(path.read_text()) == {
        "of_stores": 1.5,
        "replaced": 0.1235,
        "new": 3,
        TAKEN: {"stores": {"commit": "1"}, "encryption": provenance()},
    }
