"""Where a certificate says that its status and its issuer's certificate can be had (RFC 5280 4.2.1.13, 4.2.2.1).

Whoever makes a certificate chooses these addresses, so they may be used only after the certificate was found to lead to a trusted
root. Leaves that, and which hosts may be reached, to the caller.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

MOST = 4  # addresses of one kind that are used; a certificate may hold thousands
MAX_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses over HTTP, each kind in the order of the certificate. Plain HTTP is usual, since what comes is signed."""

    ocsp: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()

    @property
    def hosts(self) -> frozenset[str]:
        """`HOST:PORT` of each address, for whoever opens a firewall."""
        found = set()
        for address in (*self.ocsp, *self.crls, *self.issuers):
            parts = urlsplit(address)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            found.add(f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}")
        return frozenset(found)


def places_of(certificate: x509.Certificate) -> Places:
    """The places that a certificate names. What is malformed, or over another protocol (LDAP), is left out."""
    try:
        extensions = [extension.value for extension in certificate.extensions]
    except ValueError:  # one of its extensions cannot be read
        return Places()
    ocsp, crls, issuers = list[str](), list[str](), list[str]()
    for value in extensions:
        if isinstance(value, x509.AuthorityInformationAccess):
            for access in value:
                if access.access_method == AuthorityInformationAccessOID.OCSP:
                    ocsp += _addresses([access.access_location])
                elif access.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
                    issuers += _addresses([access.access_location])
        elif isinstance(value, x509.CRLDistributionPoints):
            for point in value:
                # A list for some reasons only, or of another issuer, says nothing of the others.
                if point.reasons is None and point.crl_issuer is None:
                    crls += _addresses(point.full_name or ())
    return Places(*(tuple(dict.fromkeys(found))[:MOST] for found in (ocsp, crls, issuers)))


def _addresses(names: Iterable[x509.GeneralName]) -> list[str]:
    texts = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    return [text for text in texts if _is_usable(text)]


def _is_usable(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= MAX_CHARACTERS
    return (
        plain and parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.username or parts.password)
    )
