"""Judges a list of revoked certificates (a CRL, RFC 5280 5).

Owns the decision whether a list counts for a certificate: its issuer, signature, scope and dates. It does no input or output, and
takes the time as an argument. Leaves HTTP, and the bound for the size of a list, to `transport`.
"""

from datetime import datetime

from cryptography import x509

from batchseal.errors import CertificateRevoked, MaterialUnavailable
from batchseal.upstream.answers import looks_like, refusing
from batchseal.upstream.ocsp import CLOCK, counts_until

# What a list may say of itself without leaving certificates out that this certificate could be among (RFC 5280 5.2).
HARMLESS = (x509.AuthorityKeyIdentifier, x509.CRLNumber, x509.IssuingDistributionPoint)


def judge(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> datetime:
    """Until when the list `data` (DER) says that `certificate` is not revoked (`ocsp.counts_until`).

    CPU-bound. Raises CertificateRevoked, and MaterialUnavailable for a list that does not count.
    """
    name = certificate.subject.rfc4514_string()
    with refusing(MaterialUnavailable, f"the CRL for {name} cannot be read{looks_like(data)}"):
        crl = x509.load_der_x509_crl(data)
        if crl.issuer != certificate.issuer:
            raise MaterialUnavailable(f"the CRL for {name} is from another issuer")
        if not _may_sign(issuer) or not crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            raise MaterialUnavailable(f"the CRL for {name} is not signed by the issuer of the certificate")
        _check_scope(crl, certificate)
        begins, ends = crl.last_update_utc, crl.next_update_utc
        if begins > now + CLOCK:
            raise MaterialUnavailable(f"the CRL for {name} is of the future ({begins})")
        until = counts_until(begins, ends)
        if until <= now:
            raise MaterialUnavailable(f"the CRL for {name} is too old: it counted until {until}")
        revoked = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if revoked is not None:
        raise CertificateRevoked(f"{name} was revoked on {revoked.revocation_date_utc:%Y-%m-%d}, says the CRL")
    return until


def _may_sign(issuer: x509.Certificate) -> bool:
    """Whether the issuer's key is for lists (RFC 5280 4.2.1.3)."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _check_scope(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """Raises MaterialUnavailable for a list that need not hold the certificate although it is revoked (RFC 5280 5.2)."""
    for extension in crl.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            raise MaterialUnavailable("the CRL holds only changes")
        if extension.critical and not isinstance(extension.value, HARMLESS):
            raise MaterialUnavailable(
                f"the CRL has a critical extension that is not known ({extension.oid.dotted_string})"
            )
        if isinstance(scope := extension.value, x509.IssuingDistributionPoint):
            try:
                is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            except x509.ExtensionNotFound:
                is_authority = False
            other = scope.only_contains_user_certs if is_authority else scope.only_contains_ca_certs
            if other or scope.only_contains_attribute_certs or scope.only_some_reasons or scope.indirect_crl:
                raise MaterialUnavailable("the CRL is for other certificates or for some reasons only")
            if (scope.full_name and not {*scope.full_name} & _points_of(certificate)) or scope.relative_name:
                raise MaterialUnavailable("the CRL is for certificates that name another place")


def _points_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    """The names of the places where lists for the certificate are. An issuer may have several lists (RFC 5280 6.3.3 b)."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return set()
    return {name for point in points for name in point.full_name or ()}
