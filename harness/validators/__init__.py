"""Judges of signed PDFs that are not ours: poppler's pdfsig, pyHanko and iText 5.

Each function takes finished files and says, per signature field, what its judge thinks. A missing judge raises MissingValidator;
tests turn that into a skip, or into a failure where validators are required.
"""

import atexit
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.tools import ITEXT, JARS, JAVA_FOLDER, find, missing


class MissingValidator(RuntimeError):
    """The named tool is not installed."""


@dataclass(frozen=True)
class Verdict:
    """One judge on one signature. `whole_file` says that it covers everything but its own reserved region.

    None is "cannot tell": `valid` where the judge does not know the algorithm (iText 5 and ECDSA), `trusted` where it
    does not look at certificates (iText) or only at the first signature's (pdfsig). `stamped`: there is a time stamp.
    """

    field: str
    valid: bool | None
    trusted: bool | None
    whole_file: bool
    detail: str = ""
    stamped: bool | None = None

    @property
    def good(self) -> bool:
        """Valid, covering the whole file, and not distrusted."""
        return self.valid is True and self.trusted is not False and self.whole_file


# Poppler 22 says this of a certificate that NSS has taken if NSS noted an error on the way, as where an OCSP responder that the
# certificate names cannot be reached. NSS is then asked without poppler: a verdict must not depend on what runs just now.
UNCLEAR = "Unknown issue with Certificate or corrupted data."


def tool(name: str) -> str:
    """The path of a program of `harness/tools.py`. Raises MissingValidator."""
    found = find(name)
    if found is None:
        raise MissingValidator(f"not installed: {missing([name])}")
    return found


def folder_for_now(name: str) -> Path:
    """A folder that is gone when this process has ended."""
    folder = Path(tempfile.mkdtemp(prefix=f"batchseal-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _nss_folder(root_pem: bytes) -> Path:
    """An NSS database with the root and nothing else: a signer's certificate in it would hide its absence from the CMS."""
    folder = folder_for_now("nss")
    pem = folder / "root.pem"
    pem.write_bytes(root_pem)
    certutil = tool("certutil")
    database = f"sql:{folder}"
    subprocess.run([certutil, "-N", "-d", database, "--empty-password"], check=True, capture_output=True)
    subprocess.run(
        [certutil, "-A", "-d", database, "-n", "root", "-t", "CT,CT,CT", "-a", "-i", str(pem)],
        check=True,
        capture_output=True,
    )
    return folder


def _pdfsig_verdicts(text: str) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for block in text.split("Signature #")[1:]:
        fields = {}
        for line in block.splitlines():
            key, _, value = line.strip().removeprefix("- ").partition(":")
            fields[key] = value.strip()
        valid = fields.get("Signature Validation") == "Signature is Valid."
        trusted = fields.get("Certificate Validation") == "Certificate is Trusted."
        detail = f"{fields.get('Signature Validation')} {fields.get('Certificate Validation')}"
        name = fields.get("Signature Field Name", "")
        # poppler 22 checks the certificate of a file's first signature only; later ones are an "unknown issue"
        known = trusted if trusted or not verdicts else None
        verdicts.append(Verdict(name, valid, known, "Total document signed" in fields, detail))
    return verdicts


def _nss_trusts(path: Path, folder: Path) -> bool:
    """Whether NSS itself takes the certificate of a file's first signature, with what the file holds and without OCSP."""
    from pyhanko.pdf_utils.reader import PdfFileReader

    reader = PdfFileReader(io.BytesIO(path.read_bytes()), strict=False)
    if reader.encrypted:
        reader.decrypt("")
    signature = reader.embedded_signatures[0]
    with tempfile.TemporaryDirectory(prefix="batchseal-chain-") as name:
        files = []
        for number, certificate in enumerate((signature.signer_cert, *signature.other_embedded_certs)):
            files.append(Path(name) / f"{number}.der")
            files[-1].write_bytes(certificate.dump())
        # Usage 4 is that of a signature in an e-mail, which poppler asks for too.
        command = [tool("vfychain"), "-d", f"sql:{folder}", "-pp", "-u", "4", *map(str, files)]
        return subprocess.run(command, capture_output=True, timeout=240).returncode == 0


def pdfsig_verify(paths: Iterable[Path], root_pem: bytes) -> dict[Path, list[Verdict]]:
    """Poppler's verdicts per file; an unreadable file has none."""
    pdfsig, folder = tool("pdfsig"), _nss_folder(root_pem)
    verdicts = {}
    for path in paths:
        command = [pdfsig, "-nssdir", f"sql:{folder}", str(path)]
        try:
            run = subprocess.run(command, capture_output=True, timeout=240)
            verdicts[path] = found = _pdfsig_verdicts(run.stdout.decode("utf-8", "replace"))
            if found and found[0].valid and UNCLEAR in found[0].detail:
                found[0] = replace(found[0], trusted=_nss_trusts(path, folder))
        except subprocess.TimeoutExpired:
            verdicts[path] = []
    return verdicts


def pyhanko_verify(path: Path, *roots_der: bytes, strict: bool = True) -> list[Verdict]:
    """pyHanko's verdicts, with its difference analysis of what came after each signature. A time stamp must be valid too.

    A document time stamp has a verdict of its own.
    """
    from asn1crypto import x509
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import SignatureCoverageLevel, validate_pdf_signature, validate_pdf_timestamp
    from pyhanko_certvalidator import ValidationContext

    verdicts = []
    reader = PdfFileReader(io.BytesIO(path.read_bytes()), strict=strict)
    if reader.encrypted:
        reader.decrypt("")
    for signature in reader.embedded_signatures:
        context = ValidationContext(trust_roots=[x509.Certificate.load(der) for der in roots_der], allow_fetching=False)
        whole_file = SignatureCoverageLevel.ENTIRE_FILE
        if signature.sig_object_type == "/DocTimeStamp":
            stamped = validate_pdf_timestamp(signature, context)
            valid, whole = stamped.intact and stamped.valid, stamped.coverage == whole_file
            verdicts.append(Verdict(signature.field_name, valid, stamped.trusted, whole, stamped.summary(), False))
            continue
        status = validate_pdf_signature(signature, context)
        valid = status.intact and status.valid and status.docmdp_ok is not False
        stamp = status.timestamp_validity
        if stamp is not None:
            valid = valid and stamp.intact and stamp.valid
        whole = status.coverage == whole_file
        detail = f"{status.summary()} {status.coverage} docmdp_ok={status.docmdp_ok}"
        verdicts.append(Verdict(signature.field_name, valid, status.trusted, whole, detail, stamp is not None))
    return verdicts


@cache
def _itext_classes() -> tuple[str, str]:
    if lacking := missing(ITEXT):
        raise MissingValidator(f"not installed: {lacking}")
    javac = tool("javac")
    jars = [JAVA_FOLDER / name for name in JARS]
    folder = folder_for_now("itext")
    classpath = ":".join(map(str, [folder, *jars]))
    source = Path(__file__).with_name("ITextVerify.java")
    subprocess.run([javac, "-cp", classpath, "-d", folder, str(source)], check=True, capture_output=True)
    return tool("java"), classpath


@dataclass(frozen=True)
class ITextReport:
    """`pages` 0: iText cannot open the file. `rebuilt`: it refused the xref and scanned the file instead."""

    pages: int
    rebuilt: bool
    verdicts: tuple[Verdict, ...]
    detail: str = ""


def itext_verify(paths: Iterable[Path]) -> dict[Path, ITextReport]:
    """iText's reports, all from one JVM. It checks the signatures' mathematics, not the certificates."""
    java, classpath = _itext_classes()
    by_name = {str(path): path for path in paths}
    run = subprocess.run(
        [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classpath, "ITextVerify"],
        input="\n".join(by_name).encode(),
        capture_output=True,
        timeout=600,
        check=True,
    )
    reports: dict[Path, ITextReport] = {}
    current: Path | None = None
    for line in run.stdout.decode().splitlines():
        kind, name, *rest = line.split("\t")
        if kind == "SIG" and current is not None:
            valid = {"true": True, "unknown": None}.get(rest[1], False)
            verdict = Verdict(name, valid, None, rest[0] == "true", f"revision {rest[2]} of {rest[3]}")
            old = reports[current]
            reports[current] = ITextReport(old.pages, old.rebuilt, (*old.verdicts, verdict))
        elif kind == "FILE":
            current = by_name[name]
            reports[current] = ITextReport(int(rest[0]), rest[1] == "true", ())
        elif kind == "FAIL":
            reports[by_name[name]] = ITextReport(0, False, (), rest[0])
    return reports


@contextmanager
def judging() -> Iterator[None]:
    """Skips the test when a judge is missing, or fails it where REQUIRE_VALIDATORS=1 says that all must be there."""
    import pytest

    try:
        yield
    except MissingValidator as problem:
        if os.environ.get("REQUIRE_VALIDATORS") == "1":
            raise
        pytest.skip(str(problem))
