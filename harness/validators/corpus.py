"""Signs every PDF of a folder with a local key and asks pdfsig, pyHanko and iText 5.

Counted are the files in which pdfinfo sees a page. A file is valid when each judge finds our signature good and covering the
whole file, and broken when one does not. iText counts only where it opens the source, and must not rebuild an xref that it read
before.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchseal._native.planner import PlannedUpdate, PlanRefusal
from batchseal.formats.pades.encryption import Planning
from harness.tools import ITEXT, PDFSIG
from harness.validators import ITextReport, Verdict, itext_verify, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import CONTENTS_BYTES, local_signer

TOOLS = ("pdfinfo", *PDFSIG, *ITEXT)
# Refusals that the author of a file wanted.
AUTHORS = frozenset(
    {"password_needed", "signing_forbidden", "public_key_encryption", "certified_no_changes", "fields_locked"}
)


@dataclass(frozen=True)
class Outcome:
    """What became of a file: refused, or what each judge complains of."""

    source: Path
    opens: bool
    update: PlannedUpdate | PlanRefusal
    complaints: dict[str, str] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        return isinstance(self.update, PlannedUpdate) and not self.complaints

    @property
    def is_refused_by_its_author(self) -> bool:
        return isinstance(self.update, PlanRefusal) and self.update.code in AUTHORS


def opens(path: Path) -> bool:
    """Whether pdfinfo counts a page."""
    run = subprocess.run(["pdfinfo", str(path)], capture_output=True, timeout=240)
    pages = [line for line in run.stdout.splitlines() if line.startswith(b"Pages:")]
    return bool(pages) and int(pages[0].split()[1]) > 0


def sign(source: Path, target: Path) -> PlannedUpdate | PlanRefusal:
    original = source.read_bytes()
    update = Planning(original)(
        contents_bytes=CONTENTS_BYTES,
        reason="Fatura eletrónica",
        location="Oeiras",
        signing_time="D:20261121120000Z",
    )
    if isinstance(update, PlannedUpdate):
        begin = original[update.skipped_bytes :]
        target.write_bytes(local_signer().complete(begin, update.head, update.reserved_bytes, update.tail))
    return update


def good(verdicts: Sequence[Verdict], name: str) -> bool:
    ours = [verdict for verdict in verdicts if verdict.field == name]
    return len(ours) == 1 and ours[0].good


def pyhanko_complaint(path: Path, name: str, strict: bool) -> str:
    try:
        verdicts = pyhanko_verify(path, local_signer().root_der, strict=strict)
    except Exception as problem:  # whatever it raises is its verdict
        return f"{type(problem).__name__}: {problem}"[:120]
    return "" if good(verdicts, name) else str(verdicts)


def itext_complaint(before: ITextReport, after: ITextReport, name: str) -> str:
    if not before.pages:
        return ""
    if after.rebuilt and not before.rebuilt:
        return "the xref is refused"
    return "" if good(after.verdicts, name) else str(after)


def judge(sources: Sequence[Path], target: Path, *, strict: bool = False) -> list[Outcome]:
    """Signs each source into the folder `target`, and judges it there. `strict` is pyHanko's, which then refuses many sources."""
    updates = {path: sign(path, target / path.name) for path in sources}
    signed = {path: update for path, update in updates.items() if isinstance(update, PlannedUpdate)}
    poppler = pdfsig_verify([target / path.name for path in signed], local_signer().root_pem)
    itext = itext_verify([*signed, *(target / path.name for path in signed)])
    outcomes = []
    for path, update in updates.items():
        complaints = {}
        if isinstance(update, PlannedUpdate):
            ours, name = target / path.name, update.field_name
            complaints = {
                "pdfsig": "" if good(poppler[ours], name) else str(poppler[ours]),
                "pyHanko": pyhanko_complaint(ours, name, strict),
                "iText": itext_complaint(itext[path], itext[ours], name),
            }
        complaints = {judge: complaint for judge, complaint in complaints.items() if complaint}
        outcomes.append(Outcome(path, opens(path), update, complaints))
    return outcomes
