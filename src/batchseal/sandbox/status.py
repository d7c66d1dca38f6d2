"""The sandbox's answers to whether a certificate is revoked: OCSP (RFC 6960) and CRLs (RFC 5280 5).

Owns the form of the answers, and the count of the requests. Promises that each answer is made when it is asked for, so that a
change of `revoked.txt` counts at once. Leaves keys and certificates to `authority`, what is issued and revoked to `register`, and
HTTP to `server`.
"""

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp as x509_ocsp

from batchseal.errors import ConfigurationError
from batchseal.sandbox.authority import Authority, Signer

NONCE_BYTES = 128  # the longest nonce that a responder takes (RFC 9654 2.1)
DER = serialization.Encoding.DER
Status = x509_ocsp.OCSPResponseStatus

log = structlog.get_logger()


class StatusAuthority:
    """Tells the status of the certificates of `authority`. An answer is valid for `valid_seconds`."""

    def __init__(self, authority: Authority, valid_seconds: int) -> None:
        self._authority = authority
        self._valid = timedelta(seconds=valid_seconds)
        self._responders: dict[str, Signer] = {}
        self.requests: dict[str, Counter[str]] = {"ocsp": Counter(), "crl": Counter(), "issuers": Counter()}
        """How often each thing was asked for: OCSP by serial number in hex, CRLs and certificates by the name of the issuer."""

    def ocsp(self, data: bytes) -> bytes:
        """The DER OCSPResponse to a DER OCSPRequest, which may be malformed.

        A request must be about one certificate, as RFC 5019 2.1.1 has it; for several it is "unauthorized", the answer of a
        responder that cannot tell (RFC 5019 2.2.3). So it is for an issuer that is not of this sandbox.
        """
        asked = "malformed"
        try:
            request = x509_ocsp.load_der_ocsp_request(data)
            issuer_name = self._issuer_of(request)
            if issuer_name is None:
                asked = "unauthorized"
                return refusal(Status.UNAUTHORIZED)
            asked = f"{request.serial_number:X}" if self._has(issuer_name, request) else "unknown"
            return self._answer(request, issuer_name)
        except (NotImplementedError, UnsupportedAlgorithm):
            asked = "unauthorized"
            return refusal(Status.UNAUTHORIZED)
        except ValueError:
            return refusal(Status.MALFORMED_REQUEST)
        except ConfigurationError as problem:
            log.error("the status of a certificate cannot be told", cause=problem.cause)
            return refusal(Status.INTERNAL_ERROR)
        finally:
            self.requests["ocsp"][asked] += 1

    def crl(self, issuer_name: str) -> bytes:
        """The DER CertificateList of an issuer. Raises KeyError if there is none, ConfigurationError as `Register.revoked`."""
        key, certificate = self._authority.issuers[issuer_name]
        self.requests["crl"][issuer_name] += 1
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(certificate.subject)
            .last_update(since(now))
            .next_update(now.replace(microsecond=0) + self._valid)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            # Each list is another one, and has a larger number (RFC 5280 5.2.3) without one that must be stored.
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1_000_000)), critical=False)
        )
        for serial, revocation in self._authority.register.revoked(issuer_name, now).items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(revocation.at)
            if revocation.reason is not None:
                entry = entry.add_extension(x509.CRLReason(revocation.reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key, hashes.SHA256()).public_bytes(DER)

    def issuer(self, issuer_name: str) -> bytes:
        """The DER certificate of an issuer. Raises KeyError if there is none."""
        certificate = self._authority.issuers[issuer_name][1]
        self.requests["issuers"][issuer_name] += 1
        return certificate.public_bytes(DER)

    def _has(self, issuer_name: str, request: x509_ocsp.OCSPRequest) -> bool:
        return self._authority.register.has(issuer_name, request.serial_number)

    def _issuer_of(self, request: x509_ocsp.OCSPRequest) -> str | None:
        """The name of the issuer whose name and key the request gives the digests of (RFC 6960 4.1.1)."""
        algorithm = request.hash_algorithm.name
        for issuer_name, (key, certificate) in self._authority.issuers.items():
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            name, point = certificate.subject.public_bytes(), key.public_key().public_bytes(*form)
            digests = [hashlib.new(algorithm, part, usedforsecurity=False).digest() for part in (name, point)]
            if digests == [request.issuer_name_hash, request.issuer_key_hash]:
                return issuer_name
        return None

    def _answer(self, request: x509_ocsp.OCSPRequest, issuer_name: str) -> bytes:
        """The signed answer. Raises ValueError for extensions that cannot be read or a nonce of a wrong length."""
        nonce = nonce_of(request)
        now = datetime.now(UTC).replace(microsecond=0)
        revocation = self._authority.register.revoked(issuer_name, now).get(request.serial_number)
        status = x509_ocsp.OCSPCertStatus.GOOD if self._has(issuer_name, request) else x509_ocsp.OCSPCertStatus.UNKNOWN
        if issuer_name not in self._responders:
            self._responders[issuer_name] = self._authority.responder(issuer_name)
        responder = self._responders[issuer_name]
        builder = (
            x509_ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                request.issuer_name_hash,
                request.issuer_key_hash,
                request.serial_number,
                request.hash_algorithm,
                x509_ocsp.OCSPCertStatus.REVOKED if revocation else status,
                since(now),
                now + self._valid,
                revocation.at if revocation else None,
                revocation.reason if revocation else None,
            )
            .responder_id(x509_ocsp.OCSPResponderEncoding.HASH, responder.chain[0])
            .certificates(responder.chain[:1])
        )
        if nonce is not None:
            builder = builder.add_extension(nonce, critical=False)
        return builder.sign(responder.key, hashes.SHA256()).public_bytes(DER)


def since(now: datetime) -> datetime:
    """From when an answer of `now` is valid: one second before, in whole seconds.

    The clock that `time()` reads is up to a tick behind the precise one, so a validator that asks just after a second began
    may still be in the second before, and would find an answer of this second "not yet valid".
    """
    return now.replace(microsecond=0) - timedelta(seconds=1)


def nonce_of(request: x509_ocsp.OCSPRequest) -> x509.OCSPNonce | None:
    """The nonce of a request, which its answer repeats (RFC 9654). Raises ValueError for one of a wrong length."""
    try:
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value
    except x509.ExtensionNotFound:
        return None
    if not 1 <= len(nonce.nonce) <= NONCE_BYTES:
        raise ValueError("the nonce is empty or too long")
    return nonce


def refusal(status: x509_ocsp.OCSPResponseStatus) -> bytes:
    """An answer without a signature, which says that there is none (RFC 6960 4.2.1)."""
    return x509_ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(DER)
