"""Judges what a file says of the revocation of certificates: OCSP responses (RFC 6960) and CRLs (RFC 5280 5).

An answer is judged at a moment of the past, at which the certificate was used. Who may answer, for which certificates and for
which time is decided here; nothing is fetched. `material` says which certificates need an answer.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import core, ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from batchseal.client.judges.chains import is_signed_by

CLOCK = timedelta(minutes=5)  # the largest difference between the clocks of authorities

DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody who has the right says of a certificate.

    `revoked` is since when it is revoked; None: it was not. `responder` is whom the issuer has named to answer; None: the issuer
    has answered itself.
    """

    revoked: datetime | None = None
    responder: x509.Certificate | None = None


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why an answer about a certificate does not count. `is_broken`: nobody who has the right can have given it."""

    why: str
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Single:
    """What an OCSP response says of one certificate. The digests are those of the issuer's name and key."""

    algorithm: str
    digests: tuple[bytes, bytes]
    serial_number: int
    status: str
    revoked: datetime | None
    begins: datetime
    ends: datetime | None


class OcspResponse:
    """An OCSP response. Raises ValueError, TypeError or KeyError for one that cannot be read."""

    def __init__(self, der: bytes) -> None:
        response = ocsp.OCSPResponse.load(der, strict=True)
        if (status := response["response_status"].native) != "successful":
            raise ValueError(f"the responder answered {status}")
        basic = response["response_bytes"]["response"].parsed
        data = basic["tbs_response_data"]
        self._signed, self._signature = data.dump(), basic["signature"].native
        self._algorithm = basic["signature_algorithm"]
        self._responder = data["responder_id"]
        self._by_key = self._responder.name == "by_key"
        self._named: bytes = self._responder.native if self._by_key else self._responder.chosen.chosen.dump()
        self._produced: datetime = data["produced_at"].native
        entries = () if isinstance(basic["certs"], core.Void) else basic["certs"]
        self.certificates = tuple(bytes(entry.dump()) for entry in entries)
        self._held = [x509.load_der_x509_certificate(der) for der in self.certificates]
        self._singles = [_single(one) for one in data["responses"]]

    def says(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        moment: datetime,
        others: Iterable[x509.Certificate] = (),
    ) -> Answer | Unfit | None:
        """What it says of the certificate; None: it is not about it. `others` may be responders that are not in the response."""
        single = next((one for one in self._singles if _is_about(one, certificate, issuer)), None)
        if single is None:
            return None
        responder = self._who_answers(issuer, others)
        if isinstance(responder, Unfit):
            return responder
        if (unfit := _unfit_in_time(single.begins, single.ends, certificate, moment)) is not None:
            return unfit
        if single.status == "unknown":
            return Unfit("the responder does not know it", is_broken=True)
        return Answer(single.revoked, None if responder == issuer else responder)

    def _who_answers(self, issuer: x509.Certificate, others: Iterable[x509.Certificate]) -> x509.Certificate | Unfit:
        """The certificate of who has signed the response, if that is the issuer or has its right (RFC 6960 4.2.2.2)."""
        named = [one for one in dict.fromkeys((issuer, *self._held, *others)) if self._is_named(one)]
        if not named:
            return Unfit("the certificate of its responder is not there")
        allowed = [one for one in named if one == issuer or self._has_right(one, issuer)]
        if not allowed:
            return Unfit("its responder has no right to answer for the issuer", is_broken=True)
        for one in allowed:
            if self._is_signed_by(one):
                return one
        return Unfit("its signature is not right", is_broken=True)

    def _is_named(self, certificate: x509.Certificate) -> bool:
        raw = _raw(certificate)
        if self._by_key:
            return hashlib.sha1(_key_bits(raw), usedforsecurity=False).digest() == self._named
        return bool(raw.subject.dump() == self._named)

    def _has_right(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        try:
            purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            return False
        is_valid = certificate.not_valid_before_utc <= self._produced <= certificate.not_valid_after_utc
        return is_valid and ExtendedKeyUsageOID.OCSP_SIGNING in purposes and is_signed_by(certificate, issuer)

    def _is_signed_by(self, certificate: x509.Certificate) -> bool:
        try:
            key, digest = certificate.public_key(), DIGESTS[self._algorithm.hash_algo]
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(self._signature, self._signed, ec.ECDSA(digest))
            elif isinstance(key, rsa.RSAPublicKey):
                is_pss = self._algorithm.signature_algo == "rsassa_pss"
                pss, plain = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), padding.PKCS1v15()
                key.verify(self._signature, self._signed, pss if is_pss else plain, digest)
            else:
                return False
        except (InvalidSignature, UnsupportedAlgorithm, LookupError, ValueError):
            return False
        return True


def list_says(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, issuer: x509.Certificate, moment: datetime
) -> Answer | Unfit | None:
    """What a list says of the certificate; None: it is not about what this issuer has issued."""
    if crl.issuer != certificate.issuer:
        return None
    try:
        is_signed = crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, UnsupportedAlgorithm):  # a key of another kind than those that sign
        is_signed = False
    if not is_signed or not _may_sign_lists(issuer):
        return Unfit("it is not signed by the issuer of the certificate", is_broken=True)
    if (unfit := _unfit_in_scope(crl, certificate)) is not None:
        return unfit
    if (unfit := _unfit_in_time(crl.last_update_utc, crl.next_update_utc, certificate, moment)) is not None:
        return unfit
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    return Answer(None if entry is None else entry.revocation_date_utc)


def _single(one: Any) -> Single:
    about, status = one["cert_id"], one["cert_status"]
    return Single(
        about["hash_algorithm"]["algorithm"].native,
        (about["issuer_name_hash"].native, about["issuer_key_hash"].native),
        about["serial_number"].native,
        status.name,
        status.chosen["revocation_time"].native if status.name == "revoked" else None,
        one["this_update"].native,
        one["next_update"].native,
    )


def _is_about(single: Single, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != certificate.serial_number or single.algorithm not in ("sha1", *DIGESTS):
        return False
    parts = (_raw(certificate).issuer.dump(), _key_bits(_raw(issuer)))
    made = tuple(hashlib.new(single.algorithm, part, usedforsecurity=False).digest() for part in parts)
    return made == single.digests


def _raw(certificate: x509.Certificate) -> asn1_x509.Certificate:
    """The certificate with its parts in the bytes that they have."""
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _key_bits(raw: asn1_x509.Certificate) -> bytes:
    """The public key as OCSP digests it: the content of the BIT STRING alone (RFC 6960 4.1.1)."""
    return bytes(raw.public_key["public_key"])


def _unfit_in_time(
    begins: datetime, ends: datetime | None, certificate: x509.Certificate, moment: datetime
) -> Unfit | None:
    """Why an answer does not count at `moment`. One that was given afterwards says what had happened until then.

    An answer speaks of the time at which it was known to be right (thisUpdate), whenever it was signed (RFC 6960 2.4). Without a
    nextUpdate, newer ones were there all the time (RFC 6960 4.2.2.1), so one from before says nothing of the moment.
    """
    if begins > datetime.now(UTC) + CLOCK:
        return Unfit(f"it is of the future ({_date(begins)})", is_broken=True)
    if begins > certificate.not_valid_after_utc:
        # What has expired may have been taken off the list.
        return Unfit(f"it was given after the certificate had expired ({_date(begins)})")
    if begins >= moment - CLOCK:
        return None
    if ends is None:
        return Unfit(f"it was given before the time stamp ({_date(begins)}) and does not say how long it counts")
    if ends < moment - CLOCK:
        return Unfit(f"it counted until {_date(ends)}, before the time stamp")
    return None


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    """Whether the issuer's key is for lists (RFC 5280 4.2.1.3)."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _unfit_in_scope(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> Unfit | None:
    """Why a list need not hold the certificate although it is revoked (RFC 5280 5.2 and 6.3.3)."""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            return Unfit("it holds only changes")
        if isinstance(value, x509.IssuingDistributionPoint):
            other = value.only_contains_user_certs if _is_authority(certificate) else value.only_contains_ca_certs
            if other or value.only_contains_attribute_certs or value.only_some_reasons or value.indirect_crl:
                return Unfit("it is for other certificates, or for some reasons only")
            named = set(value.full_name or ())
            if value.relative_name or (named and not named & _list_places(certificate)):
                return Unfit("it is one of several lists, and not the one that the certificate names")
        elif extension.critical and not isinstance(value, x509.AuthorityKeyIdentifier | x509.CRLNumber):
            return Unfit(f"it has a critical extension that is not known ({extension.oid.dotted_string})")
    return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _list_places(certificate: x509.Certificate) -> set[x509.GeneralName]:
    """Where the certificate says that lists about it are published."""
    try:
        points: Sequence[x509.DistributionPoint] = list(
            certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        )
    except x509.ExtensionNotFound:
        return set()
    return {name for point in points for name in point.full_name or ()}
