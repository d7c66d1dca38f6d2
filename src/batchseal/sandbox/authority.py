"""The sandbox's certification authority: a root, an intermediate, and a signing certificate for each client service.

Owns the folder with the keys and certificates, and the decision when a certificate is replaced. Promises that keys are used again
after a restart, so that documents that were signed before still verify. A certificate is renewed 30 days before it ends, for the
same key. Leaves the form of certificates to `certificates`, the list of them to `register`, and signing to `server`, `timestamps`
and `status`.

A certificate names the address at which its status can be asked for, and the sandbox may get another port at each start. These
three rules keep the addresses true without a change of certificates, which would have documents prepared again:

1. The port that the intermediate's certificate names is taken again where none is asked for (`server.listen`).
2. Only where that port is not to be had, or another one is asked for, certificates that name the old address are replaced by ones
   that name the new one: for the same keys, under the same root, which names no address and stays. A document that was prepared
   for the certificate before is prepared again, as after any renewal. One that was signed keeps that certificate.
3. A certificate that was replaced stays in the register, so that its status is told for as long as somebody asks.

The certificates of an earlier release name no address. They are replaced once, at the first start of this one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from batchseal.errors import ConfigurationError
from batchseal.sandbox.certificates import Issued, PrivateKey, Profile, fits, issue, named_port, places
from batchseal.sandbox.register import Entry, Register
from batchseal.system.disk import NewFile
from batchseal.system.folders import open_folder

KEY_BITS = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096, "p256": 256}

ROOT_DAYS, INTERMEDIATE_DAYS, SIGNER_DAYS = 7300, 3650, 730
AUTHORITIES = {
    "root": Profile("Batchseal Sandbox Root", ROOT_DAYS, path_length=1),
    "intermediate": Profile("Batchseal Sandbox Intermediate", INTERMEDIATE_DAYS, path_length=0),
}
TIMESTAMPS = Profile("Batchseal Sandbox Time Stamps", SIGNER_DAYS, purpose=ExtendedKeyUsageOID.TIME_STAMPING)


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key and its certificate chain: signer, intermediate, root; for the root's OCSP responder without the second."""

    credential_id: str
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]

    def chain_der(self) -> list[bytes]:
        return [certificate.public_bytes(serialization.Encoding.DER) for certificate in self.chain]


class Authority:
    """Issues certificates and keeps them in `folder`. `kind` is the type of the signing keys, a key of KEY_BITS.

    `address`, such as `http://127.0.0.1:1234`, is where certificates say that their status can be asked for. Without it new
    certificates name no place, and stored ones are used whatever they name.

    The keys of root and intermediate are always P-256: they are generated fast, and their certificates are short. Raises
    ConfigurationError for an unknown `kind`, or for a file in the folder that cannot be read.
    """

    def __init__(self, folder: Path, kind: str, address: str = "") -> None:
        if kind not in KEY_BITS:
            raise ConfigurationError(f"sandbox credential {kind!r} is not one of {', '.join(KEY_BITS)}")
        self.folder, self.kind, self.address = folder, kind, address
        open_folder(folder, make=0o755, strict=False).close()
        self.made: dict[str, Signer] = {}
        self.issuers: dict[str, Issued] = {}
        """The keys and certificates that issue others, by the names in AUTHORITIES."""
        self.register = Register(folder)
        with self._locked():
            if not self.register.load():
                self.register.add(stored_certificates(folder))
            for name, profile in AUTHORITIES.items():
                self.issuers[name] = self._load_or_issue(name, "p256", profile, "root")
        for name in self.issuers:
            self.register.revoked(name, datetime.now(UTC))  # a file that cannot be read is refused at the start

    def timestamper(self) -> Signer:
        """The signer of time stamps. Its certificate is for time stamps alone (RFC 3161 2.3)."""
        return self._signer("timestamp", "timestamp", "p256", TIMESTAMPS, "intermediate")

    def responder(self, issuer_name: str) -> Signer:
        """Who signs the OCSP answers about the certificates of an issuer, which has named it for that (RFC 6960 4.2.2.2)."""
        name = f"ocsp-{issuer_name}"
        profile = Profile(
            f"Batchseal Sandbox OCSP of {issuer_name}", SIGNER_DAYS, purpose=ExtendedKeyUsageOID.OCSP_SIGNING
        )
        return self._signer(name, name, "p256", profile, issuer_name)

    def signer(self, client_service: str) -> Signer:
        """The signer of a client service, created on first use. An RSA key takes a part of a second, so call it in a thread."""
        if client_service not in self.made:
            name = f"{self.kind}-{hashlib.sha256(client_service.encode()).hexdigest()[:16]}"
            profile = Profile(f"Sandbox Seal of {client_service}"[:64], SIGNER_DAYS)
            self.made[client_service] = self._signer(f"sandbox-{name}", name, self.kind, profile, "intermediate")
        return self.made[client_service]

    def _signer(self, credential_id: str, name: str, kind: str, profile: Profile, issuer_name: str) -> Signer:
        with self._locked():
            key, certificate = self._load_or_issue(name, kind, profile, issuer_name)
        above = ("root",) if issuer_name == "root" else (issuer_name, "root")
        return Signer(credential_id, key, (certificate, *(self.issuers[one][1] for one in above)))

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

    def _load_or_issue(self, name: str, kind: str, profile: Profile, issuer_name: str) -> Issued:
        """The key and the certificate in the files `name`.key and `name`.pem; what is missing or unusable is created.

        A new certificate is in the register before it is in use: a crash in between must not leave one whose status is unknown.
        """
        key_path, certificate_path = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        issuer = self.issuers.get(issuer_name)  # None for the root alone
        is_responder = profile.purpose == ExtendedKeyUsageOID.OCSP_SIGNING
        wanted = places(self.address, issuer_name) if self.address and issuer and not is_responder else ()
        new = list[NewFile]()
        if (key := load_key(key_path)) is None:
            key = make_key(kind)
            new.append(NewFile(key_path, as_pem(key), 0o600))
        certificate = load_certificate(certificate_path)
        if certificate is None or not fits(certificate, key, issuer, wanted):
            certificate = issue(profile, key, issuer, wanted)
            new.append(NewFile(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644))
            self.register.add([Entry(certificate.serial_number, issuer_name, name)], new)
        return key, certificate


def stored_port(folder: Path) -> int:
    """The port that the certificates in a folder name; 0 if there are none, or if they name none."""
    certificate = load_certificate(folder / "intermediate.pem")
    return named_port(certificate) if certificate else 0


def stored_certificates(folder: Path) -> list[Entry]:
    """The certificates in a folder, for a register that an earlier release did not keep."""
    subjects = {profile.subject: name for name, profile in AUTHORITIES.items()}
    found = [(path.stem, load_certificate(path)) for path in sorted(folder.glob("*.pem"))]
    return [
        Entry(certificate.serial_number, subjects[certificate.issuer], name)
        for name, certificate in found
        if certificate is not None and certificate.issuer in subjects and len(name.split()) == 1
    ]


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


def make_key(kind: str) -> PrivateKey:
    """Generates a key."""
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS[kind])


def as_pem(key: PrivateKey) -> bytes:
    """PKCS #8 without a password."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())
