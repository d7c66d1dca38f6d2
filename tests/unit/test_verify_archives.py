"""`batchseal verify` on archive time stamps: on what was changed after them, and on what they do not cover."""

import hashlib
import random
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from asn1crypto import crl as asn1_crl
from lxml import etree
from tests.support.revocation import crl
from tests.unit.test_verify_levels import ATTACHED, CONTENT, DETACHED, DS, XADES, XML, Pki, judged, packaged

from batchseal.commands.verify import check_file
from batchseal.signature import Level

XADES_141 = "{http://uri.etsi.org/01903/v1.4.1#}"
ARCHIVE_TIME_STAMP = "0.4.0.1733.2.4"
ABOUT_ANOTHER = "the archive time stamp is broken: it is not about this signature, or its own signature is not right"


def properties_of(root: Any) -> Any:
    return root.find(f".//{XADES}UnsignedSignatureProperties")


def take_out_a_certificate(root: Any, pki: Pki) -> None:
    values = root.find(f".//{XADES}CertificateValues")
    values.remove(values[0])


def take_out_the_revocation_values(root: Any, pki: Pki) -> None:
    properties_of(root).remove(root.find(f".//{XADES}RevocationValues"))


def change_the_order(root: Any, pki: Pki) -> None:
    properties = properties_of(root)
    properties.insert(1, properties[2])


def add_a_property(root: Any, pki: Pki) -> None:
    properties_of(root).insert(0, etree.Element(f"{XADES}CompleteCertificateRefs"))


def stamp_something_else(root: Any, pki: Pki) -> None:
    root.find(f".//{XADES_141}ArchiveTimeStamp/{XADES}EncapsulatedTimeStamp").text = b64encode(pki.token(bytes(32)))


def swap_the_tokens(root: Any, pki: Pki) -> None:
    one, other = root.iter(f"{XADES}EncapsulatedTimeStamp")
    one.text, other.text = other.text, one.text


def spoil_the_token(root: Any, pki: Pki) -> None:
    token = root.find(f".//{XADES_141}ArchiveTimeStamp/{XADES}EncapsulatedTimeStamp")
    data = bytearray(b64decode(token.text))
    data[-1] ^= 1
    token.text = b64encode(data)


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        (take_out_a_certificate, "LT", f"level LTA is broken: {ABOUT_ANOTHER}"),
        (take_out_the_revocation_values, "T", f"level LTA is broken: {ABOUT_ANOTHER}"),
        (change_the_order, "LT", f"level LTA is broken: {ABOUT_ANOTHER}"),
        (add_a_property, "LT", f"level LTA is broken: {ABOUT_ANOTHER}"),
        (stamp_something_else, "LT", f"level LTA is broken: {ABOUT_ANOTHER}"),
        (spoil_the_token, "LT", f"level LTA is broken: {ABOUT_ANOTHER}"),
        (swap_the_tokens, "B", "level T is broken: the time stamp is broken: it is not about this signature"),
    ],
)
def test_an_archived_document_that_was_changed(
    change: Callable[[Any, Pki], None], level: str, said: str, tmp_path: Path
) -> None:
    pki = Pki()
    root = etree.fromstring(packaged(XML, Level.LTA, pki))
    change(root, pki)
    verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (False, level)
    assert said in verdict.problem


def archived_again(root: Any, pki: Pki, before: list[Any], at: int) -> None:
    """Puts another archive time stamp at a place, about these properties. What it is about is put together by hand here."""
    tree = etree.fromstring(CONTENT).getroottree()
    covered = bytes(etree.tostring(tree, method="c14n", exclusive=True, with_comments=False))
    signature = root.find(f".//{DS}Signature")
    parts = [signature.find(f".//{XADES}SignedProperties")]
    parts += [signature.find(f"{DS}{name}") for name in ("SignedInfo", "SignatureValue", "KeyInfo")]
    covered += b"".join(
        etree.tostring(one, method="c14n", exclusive=True, with_comments=False, with_tail=False)
        for one in (*parts, *before)
    )
    stamp = etree.Element(f"{XADES_141}ArchiveTimeStamp")
    exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
    etree.SubElement(stamp, f"{DS}CanonicalizationMethod", Algorithm=exclusive)
    token = etree.SubElement(stamp, f"{XADES}EncapsulatedTimeStamp")
    token.text = b64encode(pki.token(hashlib.sha256(covered).digest()))
    properties_of(root).insert(at, stamp)


def test_an_archive_time_stamp_before_the_material_does_not_cover_it(tmp_path: Path) -> None:
    pki = Pki()
    root = etree.fromstring(packaged(XML, Level.LT, pki))
    archived_again(root, pki, list(properties_of(root))[:1], 1)
    verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
    assert verdict.valid, verdict.problem
    assert verdict.level == "LT"
    assert verdict.note == "level LTA is not reached: the archive time stamp does not cover all that level LT needs"


def test_a_second_archive_time_stamp_covers_the_first(tmp_path: Path) -> None:
    pki = Pki()
    root = etree.fromstring(packaged(XML, Level.LTA, pki))
    before = list(properties_of(root))
    archived_again(root, pki, before, len(before))
    verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
    assert verdict.valid, verdict.problem
    assert (verdict.level, verdict.note) == ("LTA", "")
    token = before[-1].find(f"{XADES}EncapsulatedTimeStamp")
    token.text = token.text[:40] + "\n" + token.text[40:]
    verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (False, "LT")


def test_an_archive_time_stamp_without_material(tmp_path: Path) -> None:
    pki = Pki()
    root = etree.fromstring(packaged(XML, Level.T, pki))
    archived_again(root, pki, list(properties_of(root)), 1)
    verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (True, "T"), verdict.problem
    assert "level LT is not reached: nothing says whether Seal was revoked" in verdict.note


def test_material_without_a_time_stamp(tmp_path: Path) -> None:
    pki = Pki()
    root = etree.fromstring(packaged(XML, Level.LT, pki))
    properties_of(root).remove(properties_of(root)[0])
    verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (True, "B"), verdict.problem
    assert verdict.note == "level T is not reached: there is no time stamp over the signature"


def test_archive_time_stamps_of_other_forms_are_named(tmp_path: Path) -> None:
    pki = Pki()
    for old in (True, False):
        root = etree.fromstring(packaged(XML, Level.LTA, pki))
        stamp = properties_of(root)[-1]
        if old:
            stamp.tag = f"{XADES}ArchiveTimeStamp"
        else:
            stamp.insert(0, etree.Element(f"{XADES}Include", URI="#a"))
        verdict = judged(etree.tostring(root.getroottree()), XML, tmp_path, pki)
        assert (verdict.valid, verdict.level) == (True, "LT"), verdict.problem
        assert verdict.note.startswith("level LTA is not reached: the archive time stamp ")
        assert verdict.note.endswith(", which is not judged")


# --- archive time stamps in CMS ---------------------------------------------------------------------------------------


def take_out_a_certificate_of_cms(data: Any, pki: Pki) -> None:
    data["certificates"] = [one for one in data["certificates"] if one.chosen.dump() != pki.root.der]


def put_in_another_list(data: Any, pki: Pki) -> None:
    others = [one.chosen for one in data["crls"] if one.name != "crl"]
    changed = cms.RevocationInfoChoices([cms.RevocationInfoChoice("other", one) for one in others])
    changed.append(cms.RevocationInfoChoice("crl", asn1_crl.CertificateList.load(crl(pki.root))))
    data["crls"] = changed


def put_in_another_time_stamp(data: Any, pki: Pki) -> None:
    (signer,) = data["signer_infos"]
    token = pki.token(hashlib.sha256(signer["signature"].native).digest())
    attributes = [one for one in signer["unsigned_attrs"] if one["type"].native != "signature_time_stamp_token"]
    stamp = cms.CMSAttribute({"type": "signature_time_stamp_token", "values": [cms.ContentInfo.load(token)]})
    signer["unsigned_attrs"] = cms.CMSAttributes([stamp, *attributes])


def archive_something_else(data: Any, pki: Pki) -> None:
    (signer,) = data["signer_infos"]
    (archive,) = [one for one in signer["unsigned_attrs"] if one["type"].dotted == ARCHIVE_TIME_STAMP]
    token = cms.ContentInfo.load(archive["values"][0].dump())
    other = cms.ContentInfo.load(pki.token(bytes(32)))
    other["content"]["signer_infos"][0]["unsigned_attrs"] = token["content"]["signer_infos"][0]["unsigned_attrs"]
    changed = cms.CMSAttribute({"type": ARCHIVE_TIME_STAMP, "values": [other]})
    rest = [one for one in signer["unsigned_attrs"] if one is not archive]
    signer["unsigned_attrs"] = cms.CMSAttributes([*rest, changed])


def take_out_the_index(data: Any, pki: Pki) -> None:
    (signer,) = data["signer_infos"]
    (archive,) = [one for one in signer["unsigned_attrs"] if one["type"].dotted == ARCHIVE_TIME_STAMP]
    token = cms.ContentInfo.load(archive["values"][0].dump())
    del token["content"]["signer_infos"][0]["unsigned_attrs"]
    changed = cms.CMSAttribute({"type": ARCHIVE_TIME_STAMP, "values": [token]})
    rest = [one for one in signer["unsigned_attrs"] if one is not archive]
    signer["unsigned_attrs"] = cms.CMSAttributes([*rest, changed])


def changed_cms(whole: bytes, change: Callable[[Any, Pki], None], pki: Pki) -> bytes:
    info = cms.ContentInfo.load(whole)
    change(info["content"], pki)
    return bytes(info.dump(force=True))


@pytest.mark.parametrize("name", [ATTACHED, DETACHED])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (take_out_a_certificate_of_cms, "it covers a certificate that is not there, or was changed"),
        (put_in_another_list, "it covers a CRL or an OCSP response that is not there, or was changed"),
        (put_in_another_time_stamp, "it covers an unsigned attribute that is not there, or was changed"),
        (archive_something_else, "it is not about this signature, or its own signature is not right"),
        (take_out_the_index, "it has 0 indexes of version 3"),
    ],
)
def test_an_archived_cms_that_was_changed(
    change: Callable[[Any, Pki], None], said: str, name: str, tmp_path: Path
) -> None:
    pki = Pki()
    whole = changed_cms(packaged(name, Level.LTA, pki), change, pki)
    verdict = judged(whole, name, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (False, "LT")
    assert verdict.problem == f"level LTA is broken: the archive time stamp is broken: {said}"


def add_a_list(data: Any, pki: Pki) -> None:
    data["crls"].append(cms.RevocationInfoChoice("crl", asn1_crl.CertificateList.load(crl(pki.middle))))


def test_what_is_added_after_an_archive_time_stamp_does_no_harm(tmp_path: Path) -> None:
    pki = Pki()
    whole = packaged(ATTACHED, Level.LTA, pki)
    verdict = judged(changed_cms(whole, add_a_list, pki), ATTACHED, tmp_path, pki)
    assert (verdict.valid, verdict.level, verdict.note) == (True, "LTA", ""), verdict.problem


def test_what_an_index_leaves_out_is_not_covered(tmp_path: Path) -> None:
    """The list about the authorities comes after the archive time stamp."""
    pki = Pki(lambda pki: pki.told(lists=[]))
    whole = packaged(ATTACHED, Level.LTA, pki)
    assert judged(whole, ATTACHED, tmp_path, pki).level == "T"

    def add_what_was_missing(data: Any, pki: Pki) -> None:
        data["crls"].append(cms.RevocationInfoChoice("crl", asn1_crl.CertificateList.load(crl(pki.root))))

    verdict = judged(changed_cms(whole, add_what_was_missing, pki), ATTACHED, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (True, "LT"), verdict.problem
    assert verdict.note == "level LTA is not reached: the archive time stamp does not cover all that level LT needs"


def test_unsigned_attributes_under_another_tag_are_not_passed_over(tmp_path: Path) -> None:
    pki = Pki()
    whole = packaged(ATTACHED, Level.LT, pki)
    (signer,) = cms.ContentInfo.load(whole)["content"]["signer_infos"]
    unsigned = signer["unsigned_attrs"].dump()
    verdict = judged(whole.replace(unsigned, b"\xb1" + unsigned[1:]), ATTACHED, tmp_path, pki)
    assert (verdict.valid, verdict.problem) == (False, "the CMS has parts that are not known")


def test_another_document_beside_a_detached_archive(tmp_path: Path) -> None:
    pki = Pki()
    (tmp_path / DETACHED).write_bytes(packaged(DETACHED, Level.LTA, pki))
    (tmp_path / "data.bin").write_bytes(CONTENT + b" ")
    verdict = check_file(tmp_path / DETACHED, [pki.root.der])
    assert not verdict.valid
    assert "the signature is broken" in verdict.problem


# --- any change -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [XML, ATTACHED])
def test_a_bit_that_is_changed_anywhere_under_an_archive_time_stamp_is_seen(name: str, tmp_path: Path) -> None:
    """In the signature and in all that it holds. Nothing covers the archive time stamp itself yet."""
    pki = Pki()
    whole = packaged(name, Level.LTA, pki)
    if name == XML:
        # Of the document, the canonical form leaves out some, such as declarations that are not used.
        begins, ends = whole.index(b"<ds:Signature"), whole.index(b"<xades141:ArchiveTimeStamp")
    else:
        begins = whole.index(CONTENT)
        ends = whole.index(cms.CMSAttributeType(ARCHIVE_TIME_STAMP).dump())
    numbers = random.Random(5)
    for at in sorted(numbers.sample(range(begins, ends), 60)):
        changed = bytearray(whole)
        changed[at] ^= 1 << numbers.randrange(8)
        verdict = judged(bytes(changed), name, tmp_path, pki)
        assert not verdict.valid, f"byte {at} of {len(whole)}: {changed[at - 20 : at + 20]!r}"
