"""Decides whether the certificate of a signer or of a time stamp authority leads to a trusted root.

Owns the trusted roots and the rules for certificates between them and the signer. Leaves the purpose of the signer's
certificate to `timestamps`, and revocation to `revocation`.
"""

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


# The library's default rules are those of web servers (host names, key purposes), which do not apply to time stamps. The module
# `timestamps` checks the purpose of the signer's certificate.
SIGNER = ExtensionPolicy.permit_all()
ISSUER = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_issue)
)


class Roots:
    """The trusted certificates of a PEM file, which the setting `flag` names.

    Raises ConfigurationError for a file that cannot be used.
    """

    def __init__(self, path: str, flag: str = "--timestamp-roots") -> None:
        self._flag = flag
        try:
            self._certificates = read_bundle(Path(path).read_bytes())
            self._store = Store(self._certificates)
        except OSError as problem:
            raise ConfigurationError(f"{flag}: {path or 'no file'}: {problem.strerror}") from None
        except ValueError:
            raise ConfigurationError(f"{flag}: {path}: holds no certificate that can be read") from None

    def no_path_from(self, signer: x509.Certificate) -> str:
        """Why a certificate is not trusted to which `path` has found none."""
        return f"{signer.subject.rfc4514_string()} leads to no trusted root ({self._flag})"

    def path(
        self, signer: x509.Certificate, others: Sequence[x509.Certificate], moment: datetime
    ) -> list[x509.Certificate] | None:
        """The certificates from `signer` to a root, both included, which are valid at `moment`; None if there is no such path.

        `others` are certificates that may join them. A signer that is trusted itself needs no others.
        """
        if signer in self._certificates:
            return [signer]
        builder = PolicyBuilder().store(self._store).time(moment)
        verifier = builder.extension_policies(ca_policy=ISSUER, ee_policy=SIGNER).build_client_verifier()
        try:
            return verifier.verify(signer, list(others)).chain
        except VerificationError:
            return None


def read_bundle(data: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file. Those that cannot be read are left out."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for some certificates of the operating system the parser warns
        for _, _, der in pem.unarmor(data, multiple=True):
            with suppress(ValueError):
                found.append(x509.load_der_x509_certificate(der))
    return found


def roots_of(settings: Settings) -> Roots:
    """The roots in the file `timestamp_roots`; without that setting, the roots that TLS trusts."""
    return Roots(settings.timestamp_roots or roots_of_tls(settings))


def signer_roots_of(settings: Settings) -> Roots:
    """The roots in the file `signer_roots`; without that setting, the roots that TLS trusts."""
    return Roots(settings.signer_roots or roots_of_tls(settings), "--signer-roots")


def roots_of_tls(settings: Settings) -> str:
    """The file with the roots that TLS trusts."""
    return settings.ca_bundle or ssl.get_default_verify_paths().cafile or DEBIAN_BUNDLE
