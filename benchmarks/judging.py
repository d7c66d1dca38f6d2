"""Whether signed documents are good, by others' code.

PDF is judged by pyHanko, pdfsig and iText, and must begin with its original. XML is judged by lxml with cryptography and pyHanko
(`batchseal verify`), and by xmlsec1, and must be its original with one signature put into it.
"""

import base64
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from benchmarks.bodies import PDF, XML, Kind
from harness.validators import MissingValidator, itext_verify, pdfsig_verify
from harness.validators.xml import certificate_file, only_signature_added, taken_by_xmlsec1

from batchseal.commands.verify import check_files, load_roots

CHUNK = 50


def reply_documents(path: Path) -> list[bytes]:
    """The signed documents of a result that was stored as it came over the wire (headers, chunk sizes and all)."""
    data = path.read_bytes()
    head, _, text = data.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        parts, at = [], 0
        while at < len(text):
            end = text.index(b"\r\n", at)
            size = int(text[at:end], 16)
            parts.append(text[end + 2 : end + 2 + size])
            at = end + 2 + size + 2
        text = b"".join(parts)
    entries = json.loads(text)["documentList"]
    return [base64.b64decode(entry["signedContent"]) for entry in entries]


def judge_reply(
    path: Path, originals: Sequence[bytes], root: Path, folder: Path, kind: Kind = PDF, *, ecdsa: bool = False
) -> dict[str, int]:
    """How many documents each judge takes; one that is not installed has no count. `originals` took turns in the request,
    each as a `variant` of its kind. Raises RuntimeError where a judge refuses a document.
    """
    folder.mkdir()
    files = []
    untouched = 0
    for ordinal, document in enumerate(reply_documents(path)):
        file = folder / f"{ordinal:05d}{kind.suffix}"
        file.write_bytes(document)
        files.append(file)
        original = kind.variant(originals[ordinal % len(originals)], ordinal)
        if kind is XML:
            untouched += only_signature_added(original, document)
        else:
            untouched += document.startswith(original) and len(document) > len(original)
    path.unlink()
    valid = sum(verdict.valid for verdict in check_files(files, load_roots([root]), 2))
    counts = {"documents": len(files), "originals_untouched": untouched}
    if kind is XML:
        counts["lxml"] = valid
        with suppress(MissingValidator):
            counts["xmlsec1"] = taken_by_xmlsec1(files, certificate_file(files[0], folder))
    else:
        counts["pyhanko"] = valid
        with suppress(MissingValidator):
            counts["pdfsig"] = taken_by_pdfsig(files, root)
        with suppress(MissingValidator):
            counts["itext"] = taken_by_itext(files, ecdsa=ecdsa)
    shutil.rmtree(folder)
    if set(counts.values()) != {len(files)}:
        raise RuntimeError(f"not every judge takes every document: {counts}")
    return counts


def taken_by_pdfsig(files: Sequence[Path], root: Path) -> int:
    certificate, chunks = root.read_bytes(), [files[at : at + CHUNK] for at in range(0, len(files), CHUNK)]
    pdfsig_verify(files[:1], certificate)  # makes the certificate database once, before the threads ask for it
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda chunk: pdfsig_verify(chunk, certificate), chunks))
    return sum(bool(verdicts) and all(v.good for v in verdicts) for run in runs for verdicts in run.values())


def taken_by_itext(files: Sequence[Path], *, ecdsa: bool) -> int:
    """iText 5 cannot verify ECDSA with SHA-256: there it only says that the file opens without repair and is covered whole."""
    return sum(
        report.pages > 0
        and not report.rebuilt
        and bool(report.verdicts)
        and all((ecdsa or v.valid) and v.whole_file for v in report.verdicts)
        for report in itext_verify(files).values()
    )
