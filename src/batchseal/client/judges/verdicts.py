"""What `batchseal verify` says of a file, and what its judges of PDF, XML and CMS share."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one file.

    `signer`, `coverage` and `level` (B, T, LT or LTA, as far as they are judged) are those of the last signature. `level` is the
    highest that it reaches. `problem` says why the file is not valid; `note` is worth knowing, such as why the signature does not
    reach a level that it has parts of, but does not make it invalid. `signatures` is the number of signatures.
    """

    path: Path
    valid: bool
    signer: str = ""
    coverage: str = ""
    problem: str = ""
    signatures: int = 0
    note: str = ""
    level: str = ""


@dataclass(slots=True)
class Findings:
    """What a judge has found, in words.

    `broken` is what cannot be there in a file that nobody has changed, or what forbids to trust it, such as a certificate that
    was revoked in time: the file is not valid. `lacking` is what a higher level would need.
    """

    broken: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.broken and not self.lacking

    def add(self, other: "Findings", about: str = "") -> None:
        """Takes over what `other` has found and this has not. `about` is put before each."""
        for own, found in ((self.broken, other.broken), (self.lacking, other.lacking)):
            own.extend(text for one in dict.fromkeys(found) if (text := about + one) not in own)


def trust_in(roots: Sequence[bytes], moment: datetime | None = None, others: Iterable[bytes] = ()) -> Any:
    """pyHanko's context of validation for these roots (DER). Nothing is fetched.

    Certificates must be valid at `moment`, or now. `others` are certificates (DER) that may lead to a root.
    """
    from asn1crypto import x509
    from pyhanko_certvalidator import ValidationContext

    return ValidationContext(
        trust_roots=[x509.Certificate.load(root) for root in roots],
        other_certs=[x509.Certificate.load(other) for other in others],
        moment=moment,
        allow_fetching=False,
    )


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
