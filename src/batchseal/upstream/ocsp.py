"""Asks for the status of a certificate and judges the answer (RFC 6960).

Owns the form of the request, and the decision whether an answer counts: its responder's right, its signature, its certificate
and its dates. It does no input or output, and takes the time as an argument. Leaves HTTP to `transport`. Parses with asn1crypto,
since `cryptography` refuses answers whose times have fractions of a second, which some responders send. Whether the responder's
own certificate was revoked is not judged.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import algos, core, ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from batchseal.errors import CertificateRevoked, MaterialUnavailable
from batchseal.upstream.answers import looks_like, refusing
from batchseal.upstream.verify import DIGESTS, verify_answer

CLOCK = timedelta(minutes=5)  # the largest difference between a responder's clock and ours
MAX_ANSWER_BYTES = 64 << 10
DER = serialization.Encoding.DER


@dataclass(frozen=True, slots=True)
class GoodAnswer:
    """An answer that says "good" for a certificate."""

    der: bytes
    """The whole OCSPResponse."""
    until: datetime
    """When it ceases to count, by what it says of itself."""
    responder: bytes | None
    """The certificate (DER) of a responder that the issuer has named; None if the issuer has signed the answer itself."""


def request_for(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The DER OCSPRequest for a certificate. It names the issuer by SHA-1, which every responder knows (RFC 5019 2.1.1)."""
    name = {
        "hash_algorithm": {"algorithm": "sha1"},
        "issuer_name_hash": hashlib.sha1(certificate.issuer.public_bytes(), usedforsecurity=False).digest(),
        "issuer_key_hash": hashlib.sha1(_key_bits(issuer), usedforsecurity=False).digest(),
        "serial_number": certificate.serial_number,
    }
    return bytes(ocsp.OCSPRequest({"tbs_request": {"request_list": [{"req_cert": name}]}}).dump())


def judge(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> GoodAnswer:
    """What an OCSPResponse says of `certificate`. CPU-bound.

    Raises CertificateRevoked if it is revoked, or if the responder says that it does not know it. Raises MaterialUnavailable for
    an answer that does not count. How long it does, `counts_until` says.
    """
    name = certificate.subject.rfc4514_string()
    if len(data) > MAX_ANSWER_BYTES:
        raise MaterialUnavailable(f"the OCSP answer for {name} is larger than {MAX_ANSWER_BYTES} bytes")
    with refusing(MaterialUnavailable, f"the OCSP answer for {name} cannot be read{looks_like(data)}"):
        response = ocsp.OCSPResponse.load(data, strict=True)
        if (status := response["response_status"].native) != "successful":
            raise MaterialUnavailable(f"the OCSP responder answered {status} for {name}")
        basic = response["response_bytes"]["response"].parsed
        responder = _responder(basic, issuer, now)
        _verify(basic, responder or issuer)
        single = _about(basic, certificate, issuer)
        until = _until(single, basic["tbs_response_data"]["produced_at"].native, now)
        verdict = single["cert_status"].name
    if verdict == "revoked":
        raise CertificateRevoked(f"{name} was revoked, says the OCSP responder")
    if verdict != "good":
        raise CertificateRevoked(f"{name} is unknown to the OCSP responder of its issuer")
    return GoodAnswer(data, until, None if responder is None else responder.public_bytes(DER))


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The subject's public key as OCSP digests it: the content of the BIT STRING alone (RFC 6960 4.1.1)."""
    read = asn1_x509.Certificate.load(certificate.public_bytes(DER))
    return bytes(read.public_key["public_key"])


def _responder(basic: Any, issuer: x509.Certificate, now: datetime) -> x509.Certificate | None:
    """The certificate of the responder that `issuer` has named, or None if the issuer answers itself (RFC 6960 4.2.2.2)."""
    named = basic["tbs_response_data"]["responder_id"]

    def is_named(certificate: x509.Certificate) -> bool:
        if named.name == "by_key":
            return bool(named.native == hashlib.sha1(_key_bits(certificate), usedforsecurity=False).digest())
        return bool(named.chosen.chosen.dump() == certificate.subject.public_bytes())

    if is_named(issuer):
        return None
    for entry in () if isinstance(basic["certs"], core.Void) else basic["certs"]:
        certificate = x509.load_der_x509_certificate(entry.dump())
        if not is_named(certificate):
            continue
        if not _has_right(certificate, issuer):
            break
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise MaterialUnavailable("the certificate of the OCSP responder is not valid now")
        return certificate
    raise MaterialUnavailable("the OCSP answer is signed by somebody who has no right to")


def _has_right(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer itself has issued this certificate, and for OCSP answers."""
    try:
        certificate.verify_directly_issued_by(issuer)
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def _verify(basic: Any, signer: x509.Certificate) -> None:
    signature, data = basic["signature"].native, basic["tbs_response_data"].dump()
    algorithm: algos.SignedDigestAlgorithm = basic["signature_algorithm"]
    pss = algorithm.signature_algo == "rsassa_pss"
    try:
        verify_answer(signer.public_key(), signature, data, DIGESTS[algorithm.hash_algo], pss=pss)
    except TypeError:
        raise MaterialUnavailable("the key of the OCSP responder is neither RSA nor EC") from None
    except InvalidSignature:
        raise MaterialUnavailable("the signature of the OCSP answer does not verify") from None


def _about(basic: Any, certificate: x509.Certificate, issuer: x509.Certificate) -> Any:
    """The part of the answer that is about `certificate`."""
    name, key = certificate.issuer.public_bytes(), _key_bits(issuer)
    for single in basic["tbs_response_data"]["responses"]:
        about = single["cert_id"]
        algorithm = about["hash_algorithm"]["algorithm"].native
        if algorithm not in ("sha1", *DIGESTS) or about["serial_number"].native != certificate.serial_number:
            continue
        digests = [hashlib.new(algorithm, part, usedforsecurity=False).digest() for part in (name, key)]
        if digests == [about["issuer_name_hash"].native, about["issuer_key_hash"].native]:
            return single
    raise MaterialUnavailable("the OCSP answer is about another certificate")


def _until(single: Any, produced: datetime, now: datetime) -> datetime:
    """When the answer ceases to count. Raises MaterialUnavailable if it does not count now (RFC 6960 4.2.2.1)."""
    begins, ends = single["this_update"].native, single["next_update"].native
    if max(begins, produced) > now + CLOCK:
        raise MaterialUnavailable(f"the OCSP answer is of the future ({begins})")
    until = counts_until(begins, ends)
    if until <= now:
        raise MaterialUnavailable(f"the OCSP answer is too old: it counted until {until}")
    return until


def counts_until(begins: datetime, ends: datetime | None) -> datetime:
    """When an answer or a list ceases to count: at its nextUpdate, however long ago it was made.

    Many roots publish their lists every few months, and some responders make their answers for a week. Without a nextUpdate there
    are newer ones all the time (RFC 6960 4.2.2.1). A verifier takes such an answer only for a signature that is not later, so it
    counts no longer than clocks may differ.
    """
    return begins + CLOCK if ends is None else ends
