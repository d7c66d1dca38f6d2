"""Seed values: what a field demands of its signature is met or refused by name, and pyHanko agrees about what is met."""

import io
from dataclasses import replace
from typing import Any

import pytest
from harness.validators.local_signer import CONTENTS_BYTES, local_signer
from harness.validators.samples import document, with_table
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from batchseal._native.planner import PlannedUpdate, PlanRefusal, plan
from batchseal.formats.pades.existing_field import SignatureFacts, unmet_demand
from batchseal.signature import Level

LEAF = local_signer().certificate.dump()
ROOT = local_signer().root_der
FACTS = SignatureFacts(Level.B, "sha256", None, (LEAF, ROOT))


def original(seeds: bytes, lock: bytes = b"", extra: dict[int, bytes] | None = None) -> bytes:
    field = b"<</Type/Annot/Subtype/Widget/FT/Sig/T(sig)/Rect[0 0 0 0]/F 132/P 4 0 R/SV %s%s>>" % (seeds, lock)
    return with_table(document(form=b"<</Fields[7 0 R]>>", annots=b"[7 0 R]", extra={7: field, **(extra or {})}))


def planned(content: bytes, **more: Any) -> PlannedUpdate:
    update = plan(content, contents_bytes=CONTENTS_BYTES, signing_time="D:20261121120000Z", field="sig", **more)
    assert isinstance(update, PlannedUpdate), update
    return update


def judged(content: bytes, facts: SignatureFacts = FACTS) -> str | None:
    return unmet_demand(planned(content, reason=facts.reason).seed_values, facts)


def seen_by_pyhanko(content: bytes, reason: str | None) -> str | None:
    """What pyHanko says of the seed values of a signature that is made in spite of them; None where it is satisfied."""
    update = planned(content, reason=reason)
    whole = local_signer().complete(content, update.head, update.reserved_bytes, update.tail)
    signature = PdfFileReader(io.BytesIO(whole)).embedded_signatures[0]
    from asn1crypto import x509

    context = ValidationContext(trust_roots=[x509.Certificate.load(ROOT)], allow_fetching=False)
    status = validate_pdf_signature(signature, context)
    assert status.has_seed_values
    return str(status.seed_value_constraint_error) if status.seed_value_constraint_error else None


NAMED = FACTS.chain[0].hex().encode()
# Each demand, the reason that is given, and whether pyHanko can judge it.
MET: dict[str, tuple[bytes, str | None, bool]] = {
    "nothing required": (b"<</Filter/Entrust/SubFilter[/adbe.x509.rsa_sha1]/DigestMethod[/MD5]>>", None, True),
    "the handler": (b"<</Ff 1/Filter/Adobe.PPKLite>>", None, True),
    "the encoding": (b"<</Ff 2/SubFilter[/ETSI.CAdES.detached/adbe.pkcs7.detached]>>", None, True),
    "one of several encodings": (b"<</Ff 2/SubFilter[/adbe.pkcs7.sha1/ETSI#2ECAdES#2Edetached]>>", None, False),
    "the version": (b"<</Ff 4/V 2>>", None, True),
    "a reason": (b"<</Ff 8/Reasons[(no)<FEFF00E9>]>>", "é", True),
    "no reason": (b"<</Ff 8>>", None, True),
    "no reason, by a full stop": (b"<</Ff 8/Reasons[(.)]>>", None, True),
    "no revocation data inside": (b"<</Ff 32/AddRevInfo false>>", None, True),
    "the digest": (b"<</Ff 64/DigestMethod[/SHA1(SHA256)]>>", None, True),
    "no lock": (b"<</Ff 128/LockDocument/false>>", None, True),
    "a lock or none": (b"<</Ff 128/LockDocument/auto>>", None, True),
    "flags without values": (b"<</Ff 503>>", None, True),
    "an approval": (b"<</MDP<</P 0>>>>", None, True),
    "no time stamp": (b"<</TimeStamp<</Ff 0/URL(http://tsa.invalid)>>>>", None, True),
    "the signer": (b"<</Cert<</Ff 1/Subject[<00><%s>]>>>>" % NAMED, None, False),
    "an issuer": (b"<</Cert<</Ff 2/Issuer[<%s>]>>>>" % ROOT.hex().encode(), None, True),
    "a subject": (b"<</Cert<</Ff 8/SubjectDN[<</CN(other)>><</CN(Test signer)>>]>>>>", None, True),
    "a key usage": (b"<</Cert<</Ff 32/KeyUsage[(XXXXX1XXX)(1XXXX0XXX)]>>>>", None, True),
    "an address": (b"<</Cert<</Ff 64/URL(http://ca.invalid)>>>>", None, True),
    "by references": (b"8 0 R", None, False),
}
EXTRA = {8: b"<</Ff 9 0 R/Filter 10 0 R>>", 9: b"1", 10: b"/Adobe.PPKLite"}


@pytest.mark.parametrize("name", MET)
def test_a_demand_that_we_meet_is_met_for_pyhanko_too(name: str) -> None:
    seeds, reason, is_known = MET[name]
    content = original(seeds, extra=EXTRA)
    assert judged(content, replace(FACTS, reason=reason)) is None
    if is_known:
        assert seen_by_pyhanko(content, reason) is None


UNMET: dict[str, tuple[bytes, str | None, str]] = {
    "another handler": (b"<</Ff 1/Filter/Entrust.PPKEF>>", None, "Filter"),
    "another encoding": (b"<</Ff 2/SubFilter[/adbe.pkcs7.detached]>>", None, "SubFilter"),
    "a newer version": (b"<</Ff 4/V 4>>", None, "V"),
    "a version that is none": (b"<</Ff 4/V nan>>", None, "V"),
    "another reason": (b"<</Ff 8/Reasons[(one)(two)]>>", "three", "Reasons"),
    "a reason where none is given": (b"<</Ff 8/Reasons[(one)]>>", None, "Reasons"),
    "no reason": (b"<</Ff 8>>", "some", "Reasons"),
    "an attestation": (b"<</Ff 16/LegalAttestation[(x)]>>", None, "LegalAttestation"),
    "revocation data": (b"<</Ff 32/AddRevInfo true>>", None, "AddRevInfo"),
    "another digest": (b"<</Ff 64/DigestMethod[/SHA512]>>", None, "DigestMethod"),
    "a lock": (b"<</Ff 128/LockDocument/true>>", None, "LockDocument"),
    "an appearance": (b"<</Ff 256/AppearanceFilter(x)>>", None, "AppearanceFilter"),
    "what is not known": (b"<</Ff 512>>", None, "bit 10 of /Ff"),
    "everything": (b"<</Ff -512>>", None, "bit 10 of /Ff"),
    "a certification": (b"<</MDP<</P 2>>>>", None, "MDP"),
    "a time stamp": (b"<</TimeStamp<</Ff 1/URL(http://tsa.invalid)>>>>", None, "TimeStamp"),
    "another signer": (b"<</Cert<</Ff 1/Subject[<00>]>>>>", None, "Cert Subject"),
    "another issuer": (b"<</Cert<</Ff 2/Issuer[<00>]>>>>", None, "Cert Issuer"),
    "a policy": (b"<</Cert<</Ff 4/OID[(1.2.3)]>>>>", None, "Cert OID"),
    "another subject": (b"<</Cert<</Ff 8/SubjectDN[<</CN(Test signer)/O(x)>>]>>>>", None, "Cert SubjectDN"),
    "another key usage": (b"<</Cert<</Ff 32/KeyUsage[(XXXXXX1XX)(XXXXX1XXX)]>>>>", None, "Cert KeyUsage"),
    "a reserved flag": (b"<</Cert<</Ff 16>>>>", None, "Cert reserved"),
}
# What pyHanko does not know, or passes over where it validates.
NOT_JUDGED = {
    *(
        "another handler",
        "a newer version",
        "a version that is none",
        "what is not known",
        "everything",
        "an attestation",
    ),
    *("an appearance", "a policy", "a reserved flag", "another signer", "another issuer"),
}


@pytest.mark.parametrize("name", UNMET)
def test_a_demand_that_we_do_not_meet_is_refused_by_its_name(name: str) -> None:
    seeds, reason, told = UNMET[name]
    content = original(seeds)
    cause = judged(content, replace(FACTS, reason=reason))
    assert cause is not None
    assert cause.startswith(f"the field demands {told} of its signature (/SV): ")
    if name not in NOT_JUDGED:
        assert seen_by_pyhanko(content, reason) is not None


def test_a_lock_of_level_1_meets_the_demand_for_a_locked_document() -> None:
    lock = b"/Lock<</Action/All/P 1>>"
    wanted, unwanted = (
        original(b"<</Ff 128/LockDocument/true>>", lock),
        original(b"<</Ff 128/LockDocument/false>>", lock),
    )
    assert judged(wanted) is None
    assert seen_by_pyhanko(wanted, None) is None
    assert "LockDocument" in str(judged(unwanted))
    assert seen_by_pyhanko(unwanted, None) is not None


def test_a_time_stamp_meets_the_demand_for_one() -> None:
    content = original(b"<</TimeStamp<</Ff 1/URL(http://tsa.invalid)>>>>")
    assert judged(content, replace(FACTS, level=Level.T)) is None


def test_a_refusal_tells_some_of_the_reasons() -> None:
    reasons = b"".join(b"(%s%d)" % (b"r" * 200, n) for n in range(100))
    cause = judged(original(b"<</Ff 8/Reasons[%s]>>" % reasons))
    assert cause is not None
    assert cause.endswith("and 95 more")
    assert len(cause) < 700


@pytest.mark.parametrize(
    "seeds",
    [
        b"<</Cert 8 0 R>>",  # goes in a circle
        b"<</Reasons[[[[[[[(x)]]]]]]]>>",
        b"<</Reasons[" + b"9 0 R " * 5_000 + b"]>>",  # one string of 1,000 bytes, often
    ],
)
def test_seed_values_are_bounded(seeds: bytes) -> None:
    extra = {8: b"<</Cert 8 0 R>>", 9: b"(" + b"x" * 1000 + b")"}
    content = original(seeds, extra=extra)
    refusal = plan(content, contents_bytes=100, signing_time="D:2026", field="sig")
    assert isinstance(refusal, PlanRefusal)
    assert refusal.code == "limit_objects"


@pytest.mark.parametrize("seeds", [b"(x)", b"[/Ff 1]", b"17", b"true"])
def test_seed_values_of_another_kind_are_refused(seeds: bytes) -> None:
    assert judged(original(seeds)) == "the field's seed values (/SV) are malformed"
