"""Keys with certificates, and the signature values that a signing service would return for them."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from batchseal.document import Credential

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True)
class Signer:
    """A key with its credential. The chain is the signer's certificate and the root."""

    key: Key
    credential: Credential

    def sign(self, digest: bytes) -> bytes:
        """The signature value of a digest, as a credential gives it: for EC in DER."""
        algorithm = DIGESTS[self.credential.digest_algorithm]
        prehashed = utils.Prehashed(algorithm)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(digest, ec.ECDSA(prehashed))
        if self.credential.scheme == "pss":
            return self.key.sign(digest, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), prehashed)
        return self.key.sign(digest, padding.PKCS1v15(), prehashed)

    def pem(self, at: int) -> bytes:
        """A certificate of the chain in PEM."""
        return x509.load_der_x509_certificate(self.credential.chain[at]).public_bytes(Encoding.PEM)


@cache
def signer(kind: str, digest_algorithm: str = "sha256") -> Signer:
    """`kind`: "rsa", "pss", "p256", "p384" or "p521". The same key for the same arguments."""
    key: Key
    if kind in ("rsa", "pss"):
        key, length = rsa.generate_private_key(65537, 2048), 256
    else:
        curve = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
        key = ec.generate_private_key(curve)
        length = 2 * -(-curve.key_size // 8) + 9
    root = ec.generate_private_key(ec.SECP256R1())
    chain = (_certificate(key, f"Seal {kind}", root), _certificate(root, "Root", root))
    credential = Credential(
        "seal",
        chain,
        "ec" if kind.startswith("p") and kind != "pss" else "rsa",
        length,
        digest_algorithm,
        hashlib.sha256(b"".join(chain)).digest(),
        scheme="pss" if kind == "pss" else "",
    )
    return Signer(key, credential)


def _certificate(key: Key, name: str, root: ec.EllipticCurvePrivateKey) -> bytes:
    now, is_root = datetime.now(UTC), key is root
    usage = x509.KeyUsage(not is_root, not is_root, False, False, False, is_root, is_root, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(root, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
