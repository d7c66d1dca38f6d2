"""Whether the certificate of a time stamp authority leads to a root that is trusted for it."""

import ssl
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from asn1crypto import pem
from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings

DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def _is_authority(policy: Policy, certificate: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("the issuer is no certification authority")


def _may_issue(policy: Policy, certificate: x509.Certificate, extension: x509.KeyUsage | None) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("the issuer's key is not for certificates")


# The rules of the web (names, its key purposes) are not those of time stamps: what the signer's certificate is for is checked
# where the token is.
SIGNER = ExtensionPolicy.permit_all()
ISSUER = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_issue)
)


class Roots:
    """Trusted certificates of a PEM file. Raises ConfigurationError for one that cannot be used."""

    def __init__(self, path: str) -> None:
        try:
            self._certificates = read_bundle(Path(path).read_bytes())
            self._store = Store(self._certificates)
        except (OSError, ValueError) as problem:
            raise ConfigurationError(f"--timestamp-roots: {path or 'no file'}: {type(problem).__name__}") from None

    def trust(self, signer: x509.Certificate, others: Sequence[x509.Certificate], moment: datetime) -> str | None:
        """Why `signer` is not trusted at `moment`, by way of any of `others`; None where it is."""
        if signer in self._certificates:
            return None
        builder = PolicyBuilder().store(self._store).time(moment)
        verifier = builder.extension_policies(ca_policy=ISSUER, ee_policy=SIGNER).build_client_verifier()
        try:
            verifier.verify(signer, list(others))
        except VerificationError:
            return f"{signer.subject.rfc4514_string()} leads to no trusted root (--timestamp-roots)"
        return None


def read_bundle(data: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file; one that cannot be read costs itself alone."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # systems ship some that only just can be read
        for _, _, der in pem.unarmor(data, multiple=True):
            with suppress(ValueError):
                found.append(x509.load_der_x509_certificate(der))
    return found


def roots_of(settings: Settings) -> Roots:
    """Those of `timestamp_roots`, else those that TLS trusts."""
    system = ssl.get_default_verify_paths().cafile or DEBIAN_BUNDLE
    return Roots(settings.timestamp_roots or settings.ca_bundle or system)
