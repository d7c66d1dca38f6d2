"""`batchseal verify`: checks PDF signatures with pyHanko, in processes of its own, and shows a table.

A file is valid if its last signature covers the whole file, its digest and value are right, its certificate leads
to a given root, and no earlier signature is broken. Earlier signatures may be somebody else's: one whose certificate
does not lead to a root is named in the remark, and the file stays valid. Without a root the origin is not judged, and
the end says so.
"""

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from batchseal.client.batch import find_documents
from batchseal.errors import ConfigurationError

DESCRIPTION = "Check the signatures of PDF files with code that did not make them (pyHanko)."
PATHS = "PDF files, or folders whose *.pdf are taken"


@dataclass(frozen=True, slots=True)
class Verdict:
    path: Path
    valid: bool
    signer: str = ""
    coverage: str = ""
    problem: str = ""
    signatures: int = 0
    note: str = ""  # worth knowing, though the file is valid


def check_file(path: Path, roots: Sequence[bytes]) -> Verdict:
    """Judges one file; `roots` are DER certificates. Never raises: what pyHanko can't read is not valid."""
    from pyhanko.pdf_utils.reader import PdfFileReader

    keep_library_logs_quiet()
    try:
        with path.open("rb") as file:
            signatures = PdfFileReader(file, strict=False).embedded_signatures
            if not signatures:
                return Verdict(path, False, problem="no signature")
            return judge(path, signatures, roots)
    except Exception as problem:  # a broken file may fail anywhere in the parser
        return Verdict(path, False, problem=f"{type(problem).__name__}: {problem}")


def keep_library_logs_quiet() -> None:
    """Keeps pyHanko's warnings, each with a traceback, off standard error: the verdict says what is wrong.

    Without a handler Python prints them itself. A program that configured logging still gets them in its own handlers.
    """
    for name in ("pyhanko", "pyhanko_certvalidator"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def judge(path: Path, signatures: Sequence[Any], roots: Sequence[bytes]) -> Verdict:
    from asn1crypto import x509
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    trust = ValidationContext(trust_roots=[x509.Certificate.load(root) for root in roots], allow_fetching=False)
    statuses = [validate_pdf_signature(signature, trust) for signature in signatures]
    last = statuses[-1]
    coverage = last.coverage.name if last.coverage else ""
    problems = [f"signature {n} is broken" for n, s in enumerate(statuses, 1) if not (s.intact and s.valid)]
    if coverage != "ENTIRE_FILE":
        problems.append("the last signature does not cover the whole file")
    if roots and not last.bottom_line and not problems:
        problems.append("the certificate does not lead to the root" if not last.trusted else last.summary())
    foreign = [
        f"signature {n} by {common_name(s)}: its certificate does not lead to the root"
        for n, s in enumerate(statuses[:-1], 1)
        if roots and s.intact and s.valid and not s.trusted
    ]
    return Verdict(
        path, not problems, common_name(last), coverage, "; ".join(problems), len(statuses), "; ".join(foreign)
    )


def common_name(status: Any) -> str:
    subject = status.signing_cert.subject
    return str(subject.native.get("common_name") or subject.human_friendly)


def check_files(paths: Sequence[Path], roots: Sequence[bytes], jobs: int) -> Iterator[Verdict]:
    """Verdicts in the order of `paths`, from `jobs` processes."""
    # Fresh processes: a fork would copy whatever threads and sockets the caller has.
    with ProcessPoolExecutor(max_workers=max(1, jobs), mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(check_file, roots=roots), paths, chunksize=8)


def load_roots(paths: Sequence[Path]) -> list[bytes]:
    """DER of every certificate in PEM files."""
    from pyhanko.keys import load_certs_from_pemder

    try:
        return [certificate.dump() for certificate in load_certs_from_pemder(map(str, paths))]  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"--root: {problem}") from None


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(prog="batchseal verify", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=PATHS)
    parser.add_argument(
        "--root", type=Path, action="append", default=[], help="PEM file of a trusted root (repeatable)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that check (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="show only what is wrong, and the total")
    options = parser.parse_args(arguments)
    return verify(options)


def verify(options: Namespace) -> int:
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    console = Console(highlight=False)
    roots = load_roots(options.root)
    paths = [document.path for document in find_documents(options.paths)]
    verdicts = list(
        track(check_files(paths, roots, options.jobs), "Checking", len(paths), console=console, transient=True)
    )
    bad = sum(not verdict.valid for verdict in verdicts)
    shown = [verdict for verdict in verdicts if not (options.quiet and verdict.valid)]
    if shown:
        table = Table()
        for title in ("file", "valid", "signer", "covers", "remark"):
            table.add_column(title, overflow="fold")
        for v in shown:
            covers = v.coverage.lower().replace("_", " ")
            remark = "; ".join(filter(None, (v.problem, v.note)))
            table.add_row(str(v.path), "yes" if v.valid else "NO", v.signer, covers, remark)
        console.print(table, markup=False)
    trust = "" if roots else "; no --root was given, so nothing is known of who signed"
    console.print(f"{len(paths) - bad} of {len(paths)} valid{trust}", markup=False, soft_wrap=True)
    return 1 if bad else 0
