"""Signs every PDF of a folder with a local key and asks pdfsig, pyHanko and iText 5; prints the counts by reason.

    python benchmarks/corpus.py FOLDER [--strict] [--keep FOLDER]

harness/validators/corpus.py says what is counted. --strict asks pyHanko in its strict mode, which also refuses sources that all
other readers accept.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import tools
from harness.validators.corpus import TOOLS, judge

from batchseal._native.planner import PlanRefusal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strict", action="store_true", help="pyHanko in strict mode")
    parser.add_argument("--keep", type=Path, help="folder for the signed files")
    options = parser.parse_args()
    if missing := tools.missing(TOOLS):
        parser.error(f"not installed: {missing}")
    logging.disable(logging.CRITICAL)
    target = options.keep or Path(tempfile.mkdtemp(prefix="batchseal-corpus-"))
    target.mkdir(parents=True, exist_ok=True)
    outcomes = judge(sorted(options.folder.glob("*.pdf")), target, strict=options.strict)
    opened = [outcome for outcome in outcomes if outcome.opens]
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        name, update = outcome.source.name + ("" if outcome.opens else " (does not open)"), outcome.update
        if isinstance(update, PlanRefusal):
            print(f"{name}: refused, {update.code}: {update.message}")
        for judged, complaint in outcome.complaints.items():
            print(f"{name}: {judged}: {complaint}")
    for outcome in opened:
        update = outcome.update
        if isinstance(update, PlanRefusal):
            counts[f"refused: {update.code}"] += 1
            continue
        for judged in outcome.complaints:
            counts[f"broken for {judged}"] += 1
        if outcome.is_valid:
            counts["valid"] += 1
            counts[f"valid, {update.xref_form}{', xref rebuilt' if update.rebuilt else ''}"] += 1
    print(f"\n{len(opened)} of {len(outcomes)} PDFs open")
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:6} {100 * count / max(len(opened), 1):5.1f} %  {reason}")
    return 0 if not any(reason.startswith("broken") for reason in counts) else 1


if __name__ == "__main__":
    sys.exit(main())
