"""The file of results: one entry for each drill, of its short and of its long form.

The trials of drills about several instances take minutes each, so they add up over runs: a run makes those that are still
missing, and the entry says from which commits they are. They count as long as the sources stay as they are that these drills are
about.
"""

import fcntl
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.provenance import ROOT, TAKEN

SHORT_FORMS, LONG_FORMS = "drills", "long_forms"
# A change below one of these voids the trials of drills that add up.
ABOUT = ("payloads", "store", "signer")
# What an entry of a drill that adds up has beside the figures of its trials.
RUNS, SOURCES, STORE = "runs", "sources", "store"

Result = dict[str, Any]


def sources_digest(package: Path = ROOT / "src" / "batchseal") -> str:
    """Says whether two runs were about the same sources, committed or not."""
    digest = hashlib.sha256()
    for folder in ABOUT:
        for path in sorted((package / folder).rglob("*")):
            if path.suffix in (".py", ".sql"):
                digest.update(f"{path.relative_to(package)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def standing(path: Path, forms: str, name: str, sources: str) -> Result:
    """The entry of a drill whose trials add up, as far as it still counts; empty where it does not."""
    kept: Result = read(path).get(forms, {}).get(name, {})
    return kept if kept.get(SOURCES) == sources else {}


def together(before: Result, result: Result, *, taken: Mapping[str, str], sources: str, store: str) -> Result:
    """The entry for trials of earlier runs and those of this one."""
    added = dict(result)
    for name in ("trials", "failures", "seconds"):
        added[name] = round(before.get(name, 0) + result.get(name, 0), 1)
    if "first_failure" in before:
        added["first_failure"] = before["first_failure"]
    for name, value in before.items():
        if name not in added:
            added[name] = value
        elif name not in ("trials", "failures", "seconds") and isinstance(value, int | float):
            added[name] = max(value, added[name])
    runs = [*before.get(RUNS, []), {**taken, "trials": result["trials"]}]
    return {**added, RUNS: runs, SOURCES: sources, STORE: store}


def merge(path: Path, forms: str, name: str, result: Result, taken: Mapping[str, str]) -> None:
    """Replaces the entry of one drill; others that run beside it lose nothing. `taken` says from which sources it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = json.loads(file.read() or "{}")
        kept[forms] = kept.get(forms, {}) | {name: {**result, TAKEN: dict(taken)}}
        file.truncate(0)
        file.write(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def read(path: Path) -> dict[str, Any]:
    """The whole file; empty where there is none."""
    return json.loads(path.read_text("utf-8") or "{}") if path.exists() else {}
