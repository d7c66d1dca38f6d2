"""What `batchseal verify` says of a file, and what its judges of PDF, XML and CMS share."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one file.

    `signer`, `coverage` and `level` (B or T, as far as they are judged) are those of the last signature. `problem` says why the
    file is not valid; `note` is worth knowing, but does not make it invalid. `signatures` is the number of signatures.
    """

    path: Path
    valid: bool
    signer: str = ""
    coverage: str = ""
    problem: str = ""
    signatures: int = 0
    note: str = ""
    level: str = ""


def trust_in(roots: Sequence[bytes]) -> Any:
    """pyHanko's context of validation for these roots (DER). Nothing is fetched."""
    from asn1crypto import x509
    from pyhanko_certvalidator import ValidationContext

    return ValidationContext(trust_roots=[x509.Certificate.load(root) for root in roots], allow_fetching=False)


def name_of(certificate: Any) -> str:
    """The common name of a certificate (asn1crypto), or its whole subject if it has none."""
    subject = certificate.subject
    return str(subject.native.get("common_name") or subject.human_friendly)


def keep_library_logs_quiet() -> None:
    """Stops pyHanko's warnings, which come with tracebacks, from appearing on standard error. The verdict says what is wrong.

    Python prints warnings of a logger that has no handler. A program that has configured logging still gets them.
    """
    for name in ("pyhanko", "pyhanko_certvalidator"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
