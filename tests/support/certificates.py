"""What RFC 5280 4.2.1 demands of certificates, and clients insist on from Python 3.13 on."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec


def as_rfc5280_demands(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    *,
    authority: bool,
) -> x509.CertificateBuilder:
    """Adds both key identifiers and the key usage."""
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    others = dict.fromkeys((*names, "decipher_only"), False)
    usage = x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **others)
    return (
        builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .add_extension(usage, critical=True)
    )
