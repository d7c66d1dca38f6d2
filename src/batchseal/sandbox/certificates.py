"""The form of the sandbox's certificates (RFC 5280): what a key is for, and where a certificate's status can be asked for.

Owns what stands in a certificate. Leaves to `authority` which certificates there are, and their keys and files.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Issued = tuple[PrivateKey, x509.Certificate]
"""A key and the certificate for it."""

OCSP_PATH, CRL_PATH, ISSUERS_PATH = "/ocsp", "/crl", "/issuers"
RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate is for.

    `path_length` is that of an authority (RFC 5280 4.2.1.9), and None for all others. `purpose` is the only purpose of the key
    (RFC 5280 4.2.1.12); None for an authority and for a key that signs documents.
    """

    common_name: str
    days: int
    path_length: int | None = None
    purpose: x509.ObjectIdentifier | None = None

    @property
    def subject(self) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "PT"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Batchseal Sandbox"),
                x509.NameAttribute(NameOID.COMMON_NAME, self.common_name),
            ]
        )


def places(address: str, issuer_name: str) -> tuple[x509.ExtensionType, ...]:
    """The extensions that name the OCSP responder, the issuer's certificate (RFC 5280 4.2.2.1) and its CRL (4.2.1.13)."""
    ocsp, issuer, crl = (
        x509.UniformResourceIdentifier(address + path)
        for path in (OCSP_PATH, f"{ISSUERS_PATH}/{issuer_name}.cer", f"{CRL_PATH}/{issuer_name}.crl")
    )
    access = (
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, ocsp),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, issuer),
    )
    point = x509.DistributionPoint([crl], relative_name=None, reasons=None, crl_issuer=None)
    return x509.AuthorityInformationAccess(access), x509.CRLDistributionPoints([point])


def named_port(certificate: x509.Certificate) -> int:
    """The port of the OCSP responder that a certificate names; 0 if it names none."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        responders = [one for one in access if one.access_method == AuthorityInformationAccessOID.OCSP]
        return next((urlsplit(str(one.access_location.value)).port or 0 for one in responders), 0)
    except Exception:  # it has no such extension, or is not as this sandbox issues them
        return 0


def fits(
    certificate: x509.Certificate, key: PrivateKey, issuer: Issued | None, wanted: Sequence[x509.ExtensionType]
) -> bool:
    """Whether a stored certificate can be used again.

    It must be for this key and from this issuer, not end soon, and have the extensions in `wanted` as they are there.
    """
    expiring = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < RENEW_BEFORE
    if expiring or certificate.public_key() != key.public_key():
        return False
    try:
        certificate.verify_directly_issued_by(issuer[1] if issuer else certificate)
        return all(certificate.extensions.get_extension_for_oid(one.oid).value == one for one in wanted)
    except Exception:  # whatever is wrong with it, a new one is issued
        return False


def issue(
    profile: Profile, key: PrivateKey, issuer: Issued | None, wanted: Sequence[x509.ExtensionType]
) -> x509.Certificate:
    """Issues a certificate with the extensions in `wanted` beside its own. Without an issuer it is a root."""
    issuer_key, issuer_subject = (issuer[0], issuer[1].subject) if issuer else (key, profile.subject)
    is_authority = profile.path_length is not None
    start = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(days=1)
    end = start + datetime.timedelta(days=profile.days)
    if issuer is not None:
        end = min(end, issuer[1].not_valid_after_utc)
    builder = (
        x509.CertificateBuilder(subject_name=profile.subject)
        .issuer_name(issuer_subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=profile.path_length), critical=True)
        .add_extension(key_usage(profile), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if profile.purpose is not None:
        # The certificate of a time stamp authority must be for that alone (RFC 3161 2.3).
        critical = profile.purpose == ExtendedKeyUsageOID.TIME_STAMPING
        builder = builder.add_extension(x509.ExtendedKeyUsage([profile.purpose]), critical=critical)
    if profile.purpose == ExtendedKeyUsageOID.OCSP_SIGNING:
        # Nobody can ask a responder for its own status, so nobody needs to (RFC 6960 4.2.2.2.1).
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    for extension in wanted:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def key_usage(profile: Profile) -> x509.KeyUsage:
    is_authority = profile.path_length is not None
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=not is_authority and profile.purpose != ExtendedKeyUsageOID.OCSP_SIGNING,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
