"""Judges PDF signatures of levels LT and LTA with pyHanko, offline and from the file alone."""

import asyncio
import io
from collections.abc import Sequence
from typing import Any

from asn1crypto import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import DocumentSecurityStore, validate_pdf_signature
from pyhanko.sign.validation.ades import ades_lta_validation
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator.context import CertValidationPolicySpec, ValidationContext
from pyhanko_certvalidator.policy_decl import REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager


def reader_of(whole: bytes) -> Any:
    """A reader of the file, with the empty password where it is encrypted."""
    reader = PdfFileReader(io.BytesIO(whole), strict=False)
    if reader.encrypted:
        reader.decrypt("")
    return reader


def loaded(roots: Sequence[bytes]) -> list[Any]:
    return [x509.Certificate.load(root) for root in roots]


def context_of(roots: Sequence[bytes]) -> ValidationContext:
    return ValidationContext(trust_roots=loaded(roots), allow_fetching=False)


def validation_streams(root: Any) -> set[bytes]:
    """What the DSS dictionary of a catalog holds; empty where it has none."""
    if "/DSS" not in root:
        return set()
    dss = root["/DSS"]
    lists = [dss[key] for key in ("/Certs", "/OCSPs", "/CRLs") if key in dss]
    return {bytes(one.get_object().data) for each in lists for one in each}


def check_dss_alone(reader: Any, signature: Any, roots: Sequence[bytes]) -> None:
    """The signature and its time stamp must be trusted with revocation required, by what the DSS dictionary holds."""
    context = DocumentSecurityStore.read_dss(reader).as_validation_context(
        {"trust_roots": loaded(roots), "allow_fetching": False, "revocation_mode": "require"}
    )
    status = validate_pdf_signature(signature, context, context)
    assert status.bottom_line, status.summary()
    assert status.docmdp_ok
    assert status.timestamp_validity is not None
    assert status.timestamp_validity.valid
    assert status.timestamp_validity.trusted


def check_lta(signature: Any, roots: Sequence[bytes]) -> None:
    """pyHanko's process for signatures with archive data (EN 319 102-1 5.6.3)."""
    trust = SimpleTrustManager.build(loaded(roots))
    policy = CertValidationPolicySpec(trust, CertRevTrustPolicy(REQUIRE_REVINFO))
    spec = SignatureValidationSpec(
        policy,
        RevocationInfoGatheringSpec(online_fetching_rule=RevinfoOnlineFetchingRule.LOCAL_ONLY),
        ts_cert_validation_policy=policy,
        local_knowledge=LocalKnowledge(),
    )
    result = asyncio.run(ades_lta_validation(signature, PdfSignatureValidationSpec(spec)))
    assert result.ades_subindic.status.name == "PASSED", result.ades_subindic
    assert result.oldest_evidence_record_timestamp is not None


def dss_is_behind(reader: Any, signature: Any) -> bool:
    """Whether a revision behind that of the signature has a DSS dictionary, or a new one.

    EU DSS gives a signature only such a one: with the dictionary in the signature's own revision it says B-T.
    """
    revision = reader.get_historical_resolver(signature.signed_revision)
    return bool(validation_streams(reader.root) - validation_streams(revision.root))


def pdf_level(whole: bytes, *roots: bytes, at: int = -1) -> str:
    """The level of a signature, by its place among those that are no document time stamps. AssertionError where it is broken.

    `roots` are DER.
    """
    reader = reader_of(whole)
    signature = reader.embedded_regular_signatures[at]
    stamps = reader.embedded_timestamp_signatures
    if not dss_is_behind(reader, signature):
        status = validate_pdf_signature(signature, context_of(roots))
        assert status.intact
        return "T" if status.timestamp_validity is not None and status.timestamp_validity.valid else "B"
    check_dss_alone(reader, signature, roots)
    if not stamps or stamps[-1].signed_revision <= signature.signed_revision:
        return "LT"
    check_lta(signature, roots)
    return "LTA"
