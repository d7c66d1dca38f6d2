"""Judges time stamp tokens (RFC 3161, RFC 5816) with pyHanko, and takes out what they hold."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import cms, core

from batchseal.client.judges.verdicts import trust_in

# The digests that a token may have of what it is about, by the names that asn1crypto and hashlib share.
IMPRINTS = frozenset(("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"))
# What is said of a token that is not `is_about` what it should be.
NOT_ABOUT_THIS = "it is not about this signature, or its own signature is not right"


@dataclass(frozen=True, slots=True)
class Token:
    """A token: when it was given, by whom (DER), and the certificates, OCSP responses and CRLs in it (DER)."""

    signed: Any
    time: datetime
    signer: bytes
    certificates: list[bytes]
    responses: list[bytes]
    lists: list[bytes]

    @property
    def digest_name(self) -> str:
        """The algorithm of the digest of what it is about."""
        imprint = self.signed["encap_content_info"]["content"].parsed["message_imprint"]
        return str(imprint["hash_algorithm"]["algorithm"].native)

    def is_about(self, digest: Callable[[str], bytes]) -> bool:
        """Whether it is a right token, of somebody who may give it, about what `digest` gives with an algorithm of this name."""
        if self.digest_name not in IMPRINTS:
            return False
        status = self._status(digest, trust_in(()))
        return bool(status["intact"] and status["valid"] and _may_stamp(status["signing_cert"]))

    def is_trusted(self, roots: Sequence[bytes], others: Iterable[bytes], moment: datetime | None) -> bool:
        """Whether its certificate leads to one of the roots, and was valid at `moment` (now). `others` may lead there."""
        trust = trust_in(roots, moment, (*self.certificates, *others))
        return self._status(lambda name: hashlib.new(name).digest(), trust).get("trust_problem_indic") is None

    def _status(self, digest: Callable[[str], bytes], trust: Any) -> dict[str, Any]:
        from pyhanko.sign.validation.generic_cms import validate_tst_signed_data

        status: dict[str, Any] = asyncio.run(validate_tst_signed_data(self.signed, trust, digest))
        return status


def read_token(der: bytes) -> Token:
    """Raises ValueError, TypeError or KeyError for what is no token with the certificate of its signer."""
    from pyhanko.sign.general import CMSExtractionError, extract_certificate_info

    signed = cms.ContentInfo.load(der, strict=True)["content"]
    try:
        signer = extract_certificate_info(signed).signer_cert
    except CMSExtractionError:
        raise ValueError("the certificate of a time stamp's signer is not there") from None
    responses, lists = revocations_in(members(signed["crls"]))
    return Token(
        signed,
        signed["encap_content_info"]["content"].parsed["gen_time"].native,
        signer.dump(),
        certificates_in(members(signed["certificates"])),
        responses,
        lists,
    )


def is_known(sequence: Any, fields: Sequence[str]) -> bool:
    """Whether each element of a SEQUENCE is one of its fields. asn1crypto passes over others at the end, as after a wrong tag."""
    there = [name for name in fields if not isinstance(sequence[name], core.Void)]
    return len(core.SequenceOf.load(sequence.untag().dump(), spec=core.Any)) == len(there)


def members(values: Any) -> list[Any]:
    """The members of a SET OF; none of one that is not there."""
    return [] if isinstance(values, core.Void) else list(values)


def certificates_in(choices: Iterable[Any]) -> list[bytes]:
    """The certificates of a SignedData; those of attributes are left out."""
    return [choice.chosen.dump() for choice in choices if choice.name == "certificate"]


def revocations_in(choices: Iterable[Any]) -> tuple[list[bytes], list[bytes]]:
    """The OCSP responses (RFC 5940 2.1) and the CRLs in the field `crls` of a SignedData."""
    responses, lists = list[bytes](), list[bytes]()
    for choice in choices:
        if choice.name == "crl":
            lists.append(choice.chosen.dump())
        elif choice.chosen["other_rev_info_format"].native == "ocsp_response":
            responses.append(choice.chosen["other_rev_info"].dump())
    return responses, lists


def _may_stamp(certificate: Any) -> bool:
    """Whether the certificate is for time stamps (RFC 3161 2.3)."""
    purposes = certificate.extended_key_usage_value
    return purposes is not None and "time_stamping" in purposes.native
