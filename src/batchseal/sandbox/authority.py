"""The sandbox's certification authority: a root, an intermediate, and a signing certificate for each client service.

Owns the folder with the keys and certificates. Promises that they are used again after a restart, so that documents that were
signed before still verify. A certificate is renewed 30 days before it ends, for the same key. Leaves signing to `server` and
`timestamps`.
"""

import datetime
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from batchseal.errors import ConfigurationError
from batchseal.system.disk import write_synced
from batchseal.system.folders import open_folder

KEY_BITS = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096, "p256": 256}
TIMESTAMP_NAME = "Batchseal Sandbox Time Stamps"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

ROOT_DAYS, INTERMEDIATE_DAYS, SIGNER_DAYS = 7300, 3650, 730
RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key and its certificate chain: signer, intermediate, root."""

    credential_id: str
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]

    def chain_der(self) -> list[bytes]:
        return [certificate.public_bytes(serialization.Encoding.DER) for certificate in self.chain]


class Authority:
    """Issues certificates and keeps them in `folder`. `kind` is the type of the signing keys, a key of KEY_BITS.

    The keys of root and intermediate are always P-256: they are generated fast, and their certificates are short. Raises
    ConfigurationError for an unknown `kind`, or for a key file that cannot be read.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        if kind not in KEY_BITS:
            raise ConfigurationError(f"sandbox credential {kind!r} is not one of {', '.join(KEY_BITS)}")
        self.folder, self.kind = folder, kind
        open_folder(folder, make=0o755, strict=False).close()
        self.made: dict[str, Signer] = {}
        with self._locked():
            self._root = self._load_or_issue("root", "Batchseal Sandbox Root", "p256", None, ROOT_DAYS)
            self._intermediate = self._load_or_issue(
                "intermediate", "Batchseal Sandbox Intermediate", "p256", self._root, INTERMEDIATE_DAYS
            )

    def timestamper(self) -> Signer:
        """The signer of time stamps. Its certificate is for time stamps alone (RFC 3161 2.3)."""
        with self._locked():
            key, certificate = self._load_or_issue("timestamp", TIMESTAMP_NAME, "p256", self._intermediate, SIGNER_DAYS)
        return Signer("timestamp", key, (certificate, self._intermediate[1], self._root[1]))

    def signer(self, client_service: str) -> Signer:
        """The signer of a client service, created on first use. An RSA key takes a part of a second, so call it in a thread."""
        if client_service not in self.made:
            name = f"{self.kind}-{hashlib.sha256(client_service.encode()).hexdigest()[:16]}"
            with self._locked():
                key, certificate = self._load_or_issue(
                    name, f"Sandbox Seal of {client_service}"[:64], self.kind, self._intermediate, SIGNER_DAYS
                )
            chain = (certificate, self._intermediate[1], self._root[1])
            self.made[client_service] = Signer(f"sandbox-{name}", key, chain)
        return self.made[client_service]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Locks the folder, so that one process at a time creates keys: after a restart, the old process may still be running."""
        with open_folder(self.folder, strict=False) as folder:
            lock = folder.open("lock", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _load_or_issue(
        self,
        name: str,
        common_name: str,
        kind: str,
        issuer: tuple[PrivateKey, x509.Certificate] | None,
        days: int,
    ) -> tuple[PrivateKey, x509.Certificate]:
        """The key and the certificate in the files `name`.key and `name`.pem; what is missing or unusable is created."""
        key_path, certificate_path = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        key = load_key(key_path) or make_key(key_path, kind)
        certificate = load_certificate(certificate_path)
        if certificate is None or not fits(certificate, key, issuer):
            certificate = issue(common_name, key, issuer, days)
            write_synced(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return key, certificate


def fits(certificate: x509.Certificate, key: PrivateKey, issuer: tuple[PrivateKey, x509.Certificate] | None) -> bool:
    """Whether a stored certificate can be used again: it is for this key, from this issuer, and does not end soon."""
    expiring = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < RENEW_BEFORE
    if expiring or certificate.public_key() != key.public_key():
        return False
    try:
        certificate.verify_directly_issued_by(issuer[1] if issuer else certificate)
    except Exception:  # whatever is wrong with it, a new one is issued
        return False
    return True


def load_key(path: Path) -> PrivateKey | None:
    """The key in a PEM file; None if there is no file. Raises ConfigurationError for any other failure."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"sandbox key {path}: {problem}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"sandbox key {path}: neither RSA nor EC")
    return key


def load_certificate(path: Path) -> x509.Certificate | None:
    """The certificate in a PEM file; None if it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def make_key(path: Path, kind: str) -> PrivateKey:
    """Generates a key, and writes it to `path` with mode 0600."""
    key: PrivateKey
    if kind == "p256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS[kind])
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_synced(path, pem, 0o600)
    return key


def issue(
    common_name: str, key: PrivateKey, issuer: tuple[PrivateKey, x509.Certificate] | None, days: int
) -> x509.Certificate:
    """Issues a certificate (RFC 5280): the root without an issuer, the intermediate if the root issues it, else a signer's."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "PT"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Batchseal Sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    issuer_key, issuer_certificate = issuer or (key, None)
    below_root = issuer_certificate is not None and issuer_certificate.subject == issuer_certificate.issuer
    is_authority = issuer_certificate is None or below_root
    start = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(days=1)
    end = start + datetime.timedelta(days=days)
    if issuer_certificate is not None:
        end = min(end, issuer_certificate.not_valid_after_utc)
    path_length = None if not is_authority else 0 if below_root else 1
    builder = (
        x509.CertificateBuilder(subject_name=subject)
        .issuer_name(issuer_certificate.subject if issuer_certificate else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
        .add_extension(key_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if common_name == TIMESTAMP_NAME:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
