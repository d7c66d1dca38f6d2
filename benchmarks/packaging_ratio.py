"""Packaging PDFs beside peers from PyPI: documents per CPU second of one core, with a fixed raw signature in place of a key.

    python -m benchmarks.packaging_ratio            corpus A and B, medians of interleaved rounds
    python -m benchmarks.packaging_ratio --judge    each output judged as well

Corpus A: 200 invoices of 184 KB, half with xref tables, half with xref streams. B: as many of 230 KB with 914 objects.
Documents are in memory before and after; ours come out as segments, which is how they are stored and sent, peers' as one
buffer. Contenders that are slow get fewer documents a round. Left out: reading, writing, and the key's own time.
Judging: with the fixed signature each output must cover the whole file and carry the right digest (pyHanko's `intact`);
the same code with a real RSA-2048 key must satisfy pdfsig, pyHanko and, for ours, iText, whose verdict on peers is noted.
"""

import gc
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import on_its_own
from benchmarks.packagers import OURS, Contender, contenders, fixed, real
from harness.held_folder import held_folder
from harness.invoices import PdfObject, invoice, with_xref_stream, with_xref_table
from harness.validators import MissingValidator, itext_verify, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import local_signer

ROUNDS = 5
OBJECTS_B, BYTES_B = 914, 230_000
JUDGED = 10  # documents of each contender and corpus


def corpus_a(count: int) -> list[bytes]:
    return [invoice(number, 1, 184_000) for number in range(1, count + 1)]


def corpus_b(count: int) -> list[bytes]:
    """Statements of many pages: a page, its contents and an annotation each; half with tables, half with streams."""
    return [many_objects(number) for number in range(count)]


def many_objects(number: int) -> bytes:
    chance = random.Random(number)
    pages = (OBJECTS_B - 5) // 3
    kids = b" ".join(b"%d 0 R" % (5 + 3 * page) for page in range(pages))
    objects = [
        PdfObject(b"<</Type/Catalog/Pages 2 0 R>>"),
        PdfObject(b"<</Type/Pages/Count %d/Kids[%s]>>" % (pages, kids)),
        PdfObject(b"<</Title(Extrato %05d)/Producer(statements)>>" % number),
        PdfObject(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"),
    ]
    # What stands around a page's text; in an object stream it is packed to a fraction.
    per_page = BYTES_B // pages - (90 if number % 2 else 350)
    for page in range(pages):
        own = 5 + 3 * page
        text = b"BT /F1 9 Tf 60 %d Td (Movimento %d) Tj ET\n" % (780 - page, page)
        noise = b"%% %s\n" % chance.randbytes(max(0, per_page - len(text)) // 2).hex().encode()
        form = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 4 0 R>>>>"
        objects += [
            PdfObject(form + b"/Contents %d 0 R/Annots[%d 0 R]>>" % (own + 1, own + 2)),
            PdfObject(b"<<>>", text + noise),
            PdfObject(
                b"<</Type/Annot/Subtype/Square/Rect[%d 10 80 40]/F 4/C[1 0 0]/Contents(Nota %d)>>" % (page % 50, page)
            ),
        ]
    identifier = chance.randbytes(16).hex().encode()
    if number % 2:
        return with_xref_stream(objects, identifier, predictor=number % 4 == 1)
    return with_xref_table(objects, identifier)


def rate(contender: Contender, documents: Sequence[bytes]) -> float:
    """Documents per CPU second."""
    part = documents[: max(4, int(len(documents) * contender.share))]
    gc.collect()
    began = time.process_time()
    sealed = contender.seal(part, fixed)
    taken = time.process_time() - began
    if len(sealed) != len(part):
        raise RuntimeError(f"{contender.name} gave {len(sealed)} of {len(part)} documents")
    return len(part) / taken


def measure_corpus(documents: Sequence[bytes], rounds: int, everyone: Sequence[Contender]) -> dict[str, float]:
    """The median rate of each contender by its name."""
    rates: dict[str, list[float]] = {contender.name: [] for contender in everyone}
    for number in range(rounds + 1):
        for contender in everyone:
            found = rate(contender, documents)
            if number:  # the first round warms up
                rates[contender.name].append(found)
    return {name: round(statistics.median(found), 1) for name, found in rates.items()}


def intact(path: Path) -> bool:
    """The digest of the whole file stands in the CMS, whatever the signature value is."""
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation.status import SignatureCoverageLevel

    with path.open("rb") as file:
        (signature,) = PdfFileReader(file, strict=False).embedded_signatures
        signature.compute_integrity_info()
        signed = signature.signer_info["signed_attrs"]
        (digest,) = [a["values"][0].native for a in signed if a["type"].native == "message_digest"]
        whole = signature.evaluate_signature_coverage() == SignatureCoverageLevel.ENTIRE_FILE
        return bool(whole and digest == signature.compute_digest())


def judge(contender: Contender, documents: Sequence[bytes], folder: Path) -> dict[str, int]:
    """How many of the first and last documents each judge takes."""
    chosen = [*documents[: JUDGED // 2], *documents[-(JUDGED // 2) :]]
    folder.mkdir()
    paths = [folder / f"{number}.pdf" for number in range(len(chosen))]
    for path, segments in zip(paths, contender.seal(chosen, fixed), strict=True):
        path.write_bytes(b"".join(segments))
    counts = {"documents": len(chosen), "intact": sum(map(intact, paths))}
    for path, segments in zip(paths, contender.seal(chosen, real), strict=True):
        path.write_bytes(b"".join(segments))
    signer = local_signer()
    counts["pyhanko"] = sum(pyhanko_takes(path, signer.root_der) for path in paths)
    try:
        runs = pdfsig_verify(paths, signer.root_pem).values()
        counts["pdfsig"] = sum(bool(run) and all(v.good for v in run) for run in runs)
        reports = itext_verify(paths).values()
        counts["itext"] = sum(not r.rebuilt and bool(r.verdicts) and all(v.good for v in r.verdicts) for r in reports)
    except MissingValidator as missing:
        print(missing)
    return counts


def pyhanko_takes(path: Path, root_der: bytes) -> bool:
    try:
        verdicts = pyhanko_verify(path, root_der, strict=False)
    except Exception:  # whatever it raises is its verdict
        return False
    return bool(verdicts) and all(verdict.good for verdict in verdicts)


def void_ours(judged: dict[str, dict[str, int]]) -> bool:
    """Whether a judge refuses one of our outputs: then no figure of ours counts."""
    counts = judged[OURS]
    return any(found != counts["documents"] for found in counts.values())


def measure(count: int = 200, rounds: int = ROUNDS, *, with_judges: bool = True) -> dict[str, Any]:
    """Figures by the issue's names, rates by corpus and contender, and what the judges say."""
    result: dict[str, Any] = {"rates": {}, "judged": {}}
    with held_folder("packaging") as folder:
        for name, documents in (("a", corpus_a(count)), ("b", corpus_b(count))):
            rates = measure_corpus(documents, rounds, contenders())
            result["rates"][name] = rates
            peers = [rate for contender, rate in rates.items() if contender != OURS]
            result[f"packaging_{name}_over_best_peer"] = round(rates[OURS] / max(peers), 2)
            if name == "a":
                slow = max(rate for contender, rate in rates.items() if contender.startswith("pyhanko"))
                result["packaging_a_over_pyhanko"] = round(rates[OURS] / slow, 1)
            if with_judges:
                judged = {c.name: judge(c, documents, folder / f"{name} {c.name}") for c in contenders()}
                result["judged"][name] = judged
                if void_ours(judged):
                    raise RuntimeError(f"the figures are void, a judge refuses ours: {judged[OURS]}")
    return result


if __name__ == "__main__":
    on_its_own.run(__doc__, measure, count=200, rounds=ROUNDS)
