"""What an operator should know about a credential: whether its certificate is qualified, and when it ends.

Reads the QcStatements of the certificate (ETSI EN 319 412-5), which are claims of its issuer: nothing is verified. Leaves it to
`remote` and `watch` to show the remarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import core
from cryptography import x509

from batchseal.document import CertificateEnd, Credential

QC_STATEMENTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")
COMPLIANCE, SSCD, TYPE = "0.4.0.1862.1.1", "0.4.0.1862.1.4", "0.4.0.1862.1.6"
TYPES = {"0.4.0.1862.1.6.1": "signature", "0.4.0.1862.1.6.2": "seal", "0.4.0.1862.1.6.3": "website"}
DAYS = (60, 30, 7, 1)  # before the end of a certificate: its remark changes at each of these


class Statement(core.Sequence):  # type: ignore[misc]
    _fields = [("id", core.ObjectIdentifier), ("info", core.Any, {"optional": True})]  # noqa: RUF012


class Statements(core.SequenceOf):  # type: ignore[misc]
    _child_spec = Statement


class Identifiers(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.ObjectIdentifier


@dataclass(frozen=True, slots=True)
class Quality:
    """What a certificate claims to be. `kinds` are "signature", "seal" and "website".

    `compliant`: a qualified certificate. `device`: the key is in a qualified device (QSCD).
    """

    compliant: bool = False
    device: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def qualified(self) -> bool:
        """Whether it makes qualified seals or signatures: a qualified certificate, its key in a qualified device."""
        return self.compliant and self.device and ("seal" in self.kinds or "signature" in self.kinds)


def quality_of(certificate: x509.Certificate) -> Quality:
    """What the certificate claims: nothing if it has no QcStatements, or if they cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_oid(QC_STATEMENTS).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        found = {entry["id"].dotted: entry["info"] for entry in Statements.load(extension.value, strict=True)}
        kinds = [entry.dotted for entry in found[TYPE].parse(Identifiers)] if TYPE in found else []
    except Exception:  # x509 and asn1crypto have errors of many classes for extensions that are malformed
        return Quality()
    names = tuple(TYPES[kind] for kind in kinds if kind in TYPES)
    # EN 319 412-5 4.2.3: a certificate without a type is for signatures.
    return Quality(COMPLIANCE in found, SSCD in found, names or ("signature",))


def days_left(credential: Credential, now: datetime) -> float:
    """The days until the first certificate of the chain ends; negative after that."""
    return (end_of(credential) - now).total_seconds() / 86_400


def end_of(credential: Credential) -> datetime:
    """When the first certificate of the chain ends."""
    return min(x509.load_der_x509_certificate(der).not_valid_after_utc for der in credential.chain)


def certificate_end(client_service: str, credential: Credential) -> CertificateEnd:
    """When what this client service signs with ends, and whose certificate it is (RFC 4514)."""
    subject = x509.load_der_x509_certificate(credential.chain[0]).subject.rfc4514_string()
    return CertificateEnd(client_service, credential.credential_id, credential.fingerprint, subject, end_of(credential))


def remarks_on(name: str, credential: Credential, now: datetime, *, local: bool) -> Sequence[str]:
    """Remarks on a credential, the most urgent first. `name` is its client service. `local`: the key is on this machine."""
    remarks = []
    left = days_left(credential, now)
    if due := [days for days in DAYS if left <= days]:
        remarks.append(f"{name}: the certificate ends in {max(0, int(left))} days (warned of at {due[-1]})")
    quality = quality_of(x509.load_der_x509_certificate(credential.chain[0]))
    if local:
        remarks.append(f"{name}: a local key, not qualified")
    elif not quality.compliant:
        remarks.append(f"{name}: not a qualified certificate")
    elif not quality.qualified:
        what = "its key is not in a qualified device" if not quality.device else f"it is for {'/'.join(quality.kinds)}"
        remarks.append(f"{name}: no qualified seal or signature: {what}")
    return remarks
