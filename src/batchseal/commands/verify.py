"""`batchseal verify`: checks signed files in several processes, and prints a table: PDF and CMS with pyHanko, XML with lxml.

A PDF is valid if its last signature covers the whole file (but for validation material and document time stamps behind it), if
the digest and the value of that signature are right, if its certificate leads to a given root, and if no other signature is
broken. Earlier signatures may be those of others: if the certificate of one does not lead to a root, the remark names it and the
file is still valid. If no root is given, the command does not judge who signed, and its last line says so.

The level is the highest that the signature reaches. If a part of a higher level is missing, the remark says which
and the file is still valid. If a part is broken, the file is not valid. Nothing is fetched.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from batchseal.client.batch import find_files
from batchseal.client.judges.cms import judge_cms
from batchseal.client.judges.evidence import is_record, judge_evidence
from batchseal.client.judges.pdf import judge_pdf
from batchseal.client.judges.verdicts import Verdict, keep_library_logs_quiet
from batchseal.client.judges.xml import judge_xml
from batchseal.errors import ConfigurationError

DESCRIPTION = """
Check signed files: PDF (PAdES) and CMS (CAdES, .p7m and .p7s) with pyHanko, and XML (XAdES) with lxml and
cryptography. None of them had a part in signing. Evidence records of such files are checked as well.

A PDF is valid if its last signature covers the whole file (but for validation material behind it) and is intact, if
the signer's certificate leads to a root of --root, and if no other signature is broken. Of XML, every signature must
be right, and one must cover the document. Without --root, nothing is said about who signed.

The level is the highest that the signature reaches: B; T, with a time stamp; LT, if the file also tells of every
certificate of the signer and of the time stamp authority who issued it and that it was not revoked; LTA, if an
archive time stamp covers all of that. What is lacking for a higher level is a remark; a part of it that is broken
makes the file not valid. Nothing is fetched from the network.

An evidence record (RFC 4998, .ers) is valid if it leads from the digest of the file beside it, whose name it has, to
a time stamp that is right and leads to a root. The remark says when the file existed."""

# What a folder is searched for.
SIGNED_SUFFIXES = (".pdf", ".xml", ".p7m", ".p7s", ".ers")

EXIT_CODES = """
Exit code: 0 if every file is valid, 1 if one is not, 2 for wrong use."""


def check_file(path: Path, roots: Sequence[bytes], originals: Path | None = None) -> Verdict:
    """Checks one file; `roots` are DER certificates. Never raises: a file that cannot be read is not valid.

    `originals` is the folder with the originals of detached signatures; None: the folder of each signature.
    """
    from pyhanko.pdf_utils.reader import PdfFileReader

    keep_library_logs_quiet()
    try:
        with path.open("rb") as file:
            start = file.read(16)
        # DER begins with a SEQUENCE; XML with a tag, white space, or the mark of its encoding.
        if is_record(start):
            return judge_evidence(path, roots)
        if start[:1] == b"\x30":
            return judge_cms(path, roots, originals)
        if start[:4].lstrip()[:1] == b"<" or start[:3] == b"\xef\xbb\xbf" or start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return judge_xml(path, roots)
        with path.open("rb") as file:
            return judge_pdf(path, PdfFileReader(file, strict=False), roots)
    except Exception as problem:  # A broken file can raise any exception in the parser.
        return Verdict(path, False, problem=f"{type(problem).__name__}: {problem}")


def check_files(
    paths: Sequence[Path], roots: Sequence[bytes], jobs: int, originals: Path | None = None
) -> Iterator[Verdict]:
    """Checks the files in `jobs` processes, and yields the verdicts in the order of `paths`. For `originals` see `check_file`."""
    # Start new processes instead of forking: a fork would copy the threads' locks and the sockets of this process.
    with ProcessPoolExecutor(max_workers=max(1, jobs), mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(check_file, roots=roots, originals=originals), paths, chunksize=8)


def load_roots(paths: Sequence[Path]) -> list[bytes]:
    """All certificates in the PEM files, as DER. Raises ConfigurationError."""
    from pyhanko.keys import load_certs_from_pemder

    try:
        return [certificate.dump() for certificate in load_certs_from_pemder(map(str, paths))]  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"--root: {problem}") from None


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="batchseal verify",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="signed file, or folder with *.pdf, *.xml, *.p7m, *.p7s and *.ers",
    )
    parser.add_argument(
        "--root",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="PEM file with certificates of trusted roots; can be given several times",
    )
    parser.add_argument(
        "--originals",
        type=Path,
        metavar="FOLDER",
        help="folder with the originals of detached signatures (default: the folder of each .p7s)",
    )
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="number of processes that check files (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="show only the files that are not valid, and the total")
    return verify(parser.parse_args(arguments))


def verify(options: Namespace) -> int:
    """Checks the files, prints the table and returns the exit code: 0 if all files are valid, else 1."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    console = Console(highlight=False)
    roots = load_roots(options.root)
    paths = find_files(options.paths, SIGNED_SUFFIXES)
    checking = check_files(paths, roots, options.jobs, options.originals)
    verdicts = list(track(checking, "Checking", len(paths), console=console, transient=True))
    bad = sum(not verdict.valid for verdict in verdicts)
    shown = [verdict for verdict in verdicts if not (options.quiet and verdict.valid)]
    if shown:
        table = Table()
        for title in ("file", "valid", "level", "signer", "covers", "remark"):
            table.add_column(title, overflow="fold")
        for v in shown:
            covers = v.coverage.lower().replace("_", " ")
            remark = "; ".join(filter(None, (v.problem, v.note)))
            table.add_row(str(v.path), "yes" if v.valid else "NO", v.level, v.signer, covers, remark)
        console.print(table, markup=False)
    trust = "" if roots else "; no --root was given, so this says nothing about who signed"
    console.print(f"{len(paths) - bad} of {len(paths)} valid{trust}", markup=False, soft_wrap=True)
    return 1 if bad else 0
