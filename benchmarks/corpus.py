"""Signs every PDF of a folder with a local key and asks pdfsig, pyHanko and iText 5; prints the counts by reason.

    python benchmarks/corpus.py FOLDER [--strict] [--keep FOLDER]

Counted are the files in which pdfinfo sees a page. A file is "valid" when each judge finds our signature good and covering
the whole file (iText: only where it opens the source, and without rebuilding an xref that it read before), and "broken" when
one does not. --strict asks pyHanko in its strict mode, which also refuses sources that all other readers accept.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import tools
from harness.validators import ITextReport, Verdict, itext_verify, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import CONTENTS_BYTES, local_signer

from batchseal._native.planner import PlannedUpdate, PlanRefusal
from batchseal.formats.pades.encryption import plan_update


def opens(path: Path) -> bool:
    """Whether pdfinfo counts a page."""
    run = subprocess.run(["pdfinfo", str(path)], capture_output=True, timeout=60)
    pages = [line for line in run.stdout.splitlines() if line.startswith(b"Pages:")]
    return bool(pages) and int(pages[0].split()[1]) > 0


def sign(source: Path, target: Path) -> PlannedUpdate | PlanRefusal:
    original = source.read_bytes()
    update = plan_update(
        original,
        contents_bytes=CONTENTS_BYTES,
        reason="Fatura eletrónica",
        location="Oeiras",
        signing_time="D:20261121120000Z",
    )
    if isinstance(update, PlannedUpdate):
        target.write_bytes(local_signer().complete(original, update.head, update.reserved_bytes, update.tail))
    return update


def good(verdicts: Sequence[Verdict], field: str) -> bool:
    ours = [verdict for verdict in verdicts if verdict.field == field]
    return len(ours) == 1 and ours[0].good


def pyhanko_complaint(path: Path, field: str, strict: bool) -> str:
    try:
        verdicts = pyhanko_verify(path, local_signer().root_der, strict=strict)
    except Exception as problem:  # whatever it raises is its verdict
        return f"{type(problem).__name__}: {problem}"[:120]
    return "" if good(verdicts, field) else str(verdicts)


def itext_complaint(before: ITextReport, after: ITextReport, field: str) -> str:
    if not before.pages:
        return ""
    if after.rebuilt and not before.rebuilt:
        return "the xref is refused"
    return "" if good(after.verdicts, field) else str(after)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strict", action="store_true", help="pyHanko in strict mode")
    parser.add_argument("--keep", type=Path, help="folder for the signed files")
    options = parser.parse_args()
    if missing := tools.missing(("pdfinfo", *tools.PDFSIG, *tools.ITEXT)):
        parser.error(f"not installed: {missing}")
    logging.disable(logging.CRITICAL)
    target = options.keep or Path(tempfile.mkdtemp(prefix="batchseal-corpus-"))
    target.mkdir(parents=True, exist_ok=True)
    sources = [path for path in sorted(options.folder.glob("*.pdf")) if opens(path)]
    updates = {path: sign(path, target / path.name) for path in sources}
    signed = {path: update for path, update in updates.items() if isinstance(update, PlannedUpdate)}
    poppler = pdfsig_verify([target / path.name for path in signed], local_signer().root_pem)
    itext = itext_verify([*signed, *(target / path.name for path in signed)])
    counts: Counter[str] = Counter()
    for path, update in updates.items():
        if isinstance(update, PlanRefusal):
            counts[f"refused: {update.code}"] += 1
            print(f"{path.name}: refused, {update.message}")
            continue
        ours = target / path.name
        complaints = {
            "pdfsig": "" if good(poppler[ours], update.field_name) else str(poppler[ours]),
            "pyHanko": pyhanko_complaint(ours, update.field_name, options.strict),
            "iText": itext_complaint(itext[path], itext[ours], update.field_name),
        }
        for judge, complaint in complaints.items():
            if complaint:
                counts[f"broken for {judge}"] += 1
                print(f"{path.name}: {judge}: {complaint}")
        if not any(complaints.values()):
            counts["valid"] += 1
            counts[f"valid, {update.xref_form}{', xref rebuilt' if update.rebuilt else ''}"] += 1
    print(f"\n{len(sources)} PDFs open")
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:6} {100 * count / max(len(sources), 1):5.1f} %  {reason}")
    return 0 if not any(reason.startswith("broken") for reason in counts) else 1


if __name__ == "__main__":
    sys.exit(main())
