"""Joins certificates to those that have issued them: by name, by signature, and by the issuer's right (RFC 5280 6.1).

Whether a chain is trusted for a purpose, with constraints on names and lengths, pyHanko says.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

# So many certificates of one file are looked at. Each can be the issuer of each other one.
MAX_CERTIFICATES = 300
# What the library raises for certificates and lists that it cannot read, some of it only when a part is asked for.
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class Chains:
    """The chains of a set of certificates (DER). The shortest one of each certificate counts.

    A chain ends at one of `roots`; without roots, at a certificate that has signed itself.
    """

    def __init__(self, certificates: Iterable[bytes], roots: Sequence[bytes]) -> None:
        found = [loaded(der) for der in dict.fromkeys((*roots, *certificates))]
        self.certificates = [one for one in found if one is not None][:MAX_CERTIFICATES]
        ends = [one for der in roots if (one := loaded(der)) is not None]
        if not roots:
            ends = [one for one in self.certificates if is_signed_by(one, one)]
        self._issuers: dict[x509.Certificate, x509.Certificate | None] = dict.fromkeys(ends)
        self._join_to(ends, trusted=bool(roots))

    def _join_to(self, ends: Sequence[x509.Certificate], *, trusted: bool) -> None:
        """Goes down from the ends. Each pair of certificates is tried once at most, whatever circles they form."""
        issued = defaultdict(list)
        for one in self.certificates:
            issued[one.issuer].append(one)
        ahead = deque(ends)
        while ahead:
            issuer = ahead.popleft()
            # A root was chosen as an issuer by who trusts it. An old one may not say that it is.
            if not may_issue(issuer) and not (trusted and issuer in ends):
                continue
            for one in issued[issuer.subject]:
                if one not in self._issuers and is_signed_by(one, issuer):
                    self._issuers[one] = issuer
                    ahead.append(one)

    def of(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """The certificate, its issuer, and so on to the end; nothing where it leads to none."""
        chain: list[x509.Certificate] = []
        at: x509.Certificate | None = certificate
        while at is not None:
            if at not in self._issuers:
                return []
            chain.append(at)
            at = self._issuers[at]
        return chain


def loaded(der: bytes) -> x509.Certificate | None:
    """The certificate; None for one that cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        # These are only read when they are asked for.
        hash((certificate.subject, certificate.issuer))
        tuple(certificate.extensions)
    except UNREADABLE:
        return None
    return certificate


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and signature are on the certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def may_issue(certificate: x509.Certificate) -> bool:
    """Whether the certificate is that of an authority (RFC 5280 4.2.1.9 and 4.2.1.3)."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def called(certificate: x509.Certificate) -> str:
    """The common name of the certificate, or its whole subject if it has none."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
