"""Revocation answers of a small public key infrastructure: right ones, and whatever somebody may give instead."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.support.small_pki import DAY, Issued

HOUR = timedelta(hours=1)


def answer(
    about: Issued,
    issuer: Issued,
    *,
    responder: Issued | None = None,
    revoked: timedelta | None = None,
    is_known: bool = True,
    begins: timedelta = timedelta(),
    ends: timedelta | None = DAY,
) -> bytes:
    """An OCSP response, in DER. Times are distances from now. `responder` signs; its certificate goes into the response."""
    now, responder = datetime.now(UTC), responder or issuer
    status = ocsp.OCSPCertStatus.GOOD if revoked is None else ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        about.certificate,
        issuer.certificate,
        hashes.SHA1(),
        status if is_known else ocsp.OCSPCertStatus.UNKNOWN,
        now + begins,
        None if ends is None else now + ends,
        None if revoked is None else now + revoked,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, responder.certificate)
    if responder is not issuer:
        builder = builder.certificates([responder.certificate])
    return builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)


def crl(
    issuer: Issued,
    *revoked: tuple[Issued, timedelta],
    key: Issued | None = None,
    begins: timedelta = timedelta(),
    ends: timedelta = DAY,
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """A list of certificates and since when they are revoked, in DER. Times are distances from now."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, now + begins, now + ends)
    for one, since in revoked:
        entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, now + since)
        builder = builder.add_revoked_certificate(entry.build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign((key or issuer).key, hashes.SHA256()).public_bytes(Encoding.DER)
