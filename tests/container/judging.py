"""What others say of the documents that came back.

Of PDF pdfsig is the judge, and of the level LT pyHanko (`batchseal verify`). Of XML xmlsec1 is, and lxml with cryptography
(`batchseal verify`), which follow the chain too.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness.validators import Verdict, pdfsig_verify
from harness.validators.xml import certificate_file, only_signature_added, taken_by_xmlsec1
from harness.visible_wishes import LONG_TERM
from tests.container.load import XADES, Kind

from batchseal.client.batch import Document, find_documents
from batchseal.commands.verify import check_files, load_roots

CHUNK = 50


def count_valid(folder: Path, out: Path, root: bytes, judged: int, kind: Kind | None = None) -> tuple[int, int]:
    """Signed files of `out`/* that are good, and how many of them the judges saw: the first `judged` of each request.

    Good is a file that begins with its original, in XML: that has one signature more than its original, and that the judges
    take where they see it. Empties `out`.
    """
    kind = kind or Kind()
    originals = {document.name: document for document in find_documents([folder], kind.signature_type)}
    comes_from, taken_of = begins_with, taken_by_pdfsig
    if kind.signature_type == XADES:
        comes_from, taken_of = is_signed_copy, taken_by_both_of_xml
    elif kind.visible_lt:
        taken_of = taken_at_long_term
    valid = seen = 0
    for batch in sorted(out.iterdir()):
        paths = [path for path in sorted(batch.iterdir()) if comes_from(path, originals[path.name])]
        chosen, rest = paths[:judged], paths[judged:]
        valid += len(rest) + taken_of(chosen, root)
        seen += len(chosen)
        shutil.rmtree(batch)
    return valid, seen


def taken_by_pdfsig(paths: list[Path], root: bytes) -> int:
    """How many of the files have signatures that cover the whole file and lead to the root."""
    return count_taken_by_pdfsig(paths, root, lambda verdict: verdict.good)


def taken_at_long_term(paths: list[Path], root: bytes) -> int:
    """How many both judges take. The material for validation stands behind the signature, which does not cover the whole file."""
    with root_file(root) as file:
        reached = [v.path for v in check_files(paths, load_roots([file]), 2) if v.valid and v.level == LONG_TERM]
    return count_taken_by_pdfsig(reached, root, lambda verdict: verdict.valid is True and verdict.trusted is not False)


def count_taken_by_pdfsig(paths: list[Path], root: bytes, is_good: Callable[[Verdict], bool]) -> int:
    chunks: Sequence[list[Path]] = [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda chunk: pdfsig_verify(chunk, root).values(), chunks)
        return sum(bool(verdicts) and all(map(is_good, verdicts)) for run in runs for verdicts in run)


def taken_by_both_of_xml(paths: list[Path], root: bytes) -> int:
    with root_file(root) as file:
        taken = [verdict.path for verdict in check_files(paths, load_roots([file]), 2) if verdict.valid]
        return taken_by_xmlsec1(taken, certificate_file(taken[0], file.parent)) if taken else 0


@contextmanager
def root_file(root: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "root.pem"
        file.write_bytes(root)
        yield file


def begins_with(signed: Path, original: Document) -> bool:
    content = original.path.read_bytes()
    with signed.open("rb") as file:
        return file.read(len(content)) == content and file.read(1) != b""


def is_signed_copy(signed: Path, original: Document) -> bool:
    return only_signature_added(original.path.read_bytes(), signed.read_bytes())
