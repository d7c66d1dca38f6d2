"""Whether the documents of a reply are good: by pyHanko, pdfsig and iText, and each with its original as an untouched prefix."""

import base64
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.main_job import judge
from rich.console import Console

from batchseal.client.verify import check_files, load_roots


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


def judge_reply(path: Path, originals: Sequence[bytes], root: Path, folder: Path) -> dict[str, int]:
    """How many documents each judge takes. `originals` took turns in the request. Raises RuntimeError for a bad one."""
    folder.mkdir()
    files = []
    untouched = 0
    for ordinal, document in enumerate(reply_documents(path)):
        file = folder / f"{ordinal:05d}.pdf"
        file.write_bytes(document)
        files.append(file)
        original = originals[ordinal % len(originals)]
        untouched += document.startswith(original) and len(document) > len(original)
    path.unlink()
    judged = judge(Console(quiet=True), files, root)
    verdicts = list(check_files(files, load_roots([root]), 2))
    counts = {
        "documents": len(files),
        "originals_untouched": untouched,
        "pyhanko": sum(verdict.valid for verdict in verdicts),
        **{name: n for name, n in (("pdfsig", judged.pdfsig), ("itext", judged.itext)) if n is not None},
    }
    shutil.rmtree(folder)
    return counts
