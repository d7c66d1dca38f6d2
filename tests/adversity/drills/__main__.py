"""Runs drills and keeps their results (see the package)."""

import argparse
import fcntl
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import tools
from harness.provenance import TAKEN, provenance
from tests.adversity.drills import catalogue, registry  # noqa: F401
from tests.adversity.drills.registry import DRILLS, run

RESULTS = Path("benchmarks/results/drills.json")
SHORT_FORMS, LONG_FORMS = "drills", "long_forms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="DRILL", help=f"one of {', '.join(DRILLS)}; none: all")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--trials", type=int, help="in place of the form's own number")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(DRILLS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(DRILLS)}")
    registry.LONG, registry.FULL = arguments.long, True
    names = arguments.names or list(DRILLS)
    left_out = {name: DRILLS[name].left_out for name in names if DRILLS[name].left_out}
    tools.say(left_out)
    taken, failures = provenance(), 0
    for name in names:
        one = DRILLS[name]
        trials = arguments.trials or (one.long if arguments.long else one.short)
        if name not in left_out:
            say(f"{name}: {trials} trials")
        with tempfile.TemporaryDirectory(prefix="batchseal-drill-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o711)
            result = run(one, trials, Path(folder), say)
        failures += result["failures"]
        say(f"{name}: {json.dumps(result)}")
        merge(arguments.out, LONG_FORMS if arguments.long else SHORT_FORMS, name, result, taken)
    tools.say(left_out)
    # A run in which nothing could be tried has shown nothing.
    return 1 if failures or len(left_out) == len(names) else 0


def merge(path: Path, forms: str, name: str, result: dict[str, Any], taken: dict[str, str]) -> None:
    """Replaces the entry of one drill; others that run beside it lose nothing. `taken` says from which sources it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = json.loads(file.read() or "{}")
        kept[forms] = kept.get(forms, {}) | {name: {**result, TAKEN: taken}}
        file.truncate(0)
        file.write(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
