"""Keeps figures in a flat file of results that several benchmarks write, each of them its own."""

import json
from collections.abc import Mapping
from pathlib import Path

from harness.provenance import TAKEN, provenance

RESULTS = Path(__file__).parent / "results"
INSTANCES = RESULTS / "instances.json"


def keep(path: Path, part: str, figures: Mapping[str, float]) -> None:
    """Puts the figures in place of those of the same names. All others stay; `part` says what these were taken from."""
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    taken = kept.pop(TAKEN, {})
    kept |= {name: round(value, 4) for name, value in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**kept, TAKEN: {**taken, part: provenance()}}, indent=2) + "\n", "utf-8")
