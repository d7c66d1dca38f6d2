"""CAdES as OpenSSL and pyHanko judge it, attached and detached, and the lengths that are said before it is packaged."""

import hashlib
import itertools
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import cms, core
from tests.support.signing_keys import Signer, signer
from tests.support.xml_documents import MOMENT, joined

from batchseal.document import Description, Evidence, Prepared, SignedDocument
from batchseal.errors import ItemRejected
from batchseal.formats.cades.cades import Cades
from batchseal.formats.registry import Formats
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureOptions, SignatureType

# Around every place where a length takes one byte more.
SIZES = (1, 127, 128, 255, 256, 65_000, 65_535, 65_536, 1 << 24)


def wanted(*, detached: bool = False, level: Level = Level.B, location: str | None = "Oeiras") -> Description:
    return Description(
        "ref",
        "data.bin",
        ContentType.OTHER,
        None,
        location,
        signature_type=SignatureType.CADES,
        level=level,
        options=SignatureOptions(detached=detached),
        other_type="application/zip",
    )


def packaged(
    content: bytes, what: Description, one: Signer, *stamps: bytes
) -> tuple[Prepared, Evidence, SignedDocument, bytes]:
    (prepared,) = Cades().prepare([(0, what, content)], one.credential, MOMENT)
    assert isinstance(prepared, Prepared)
    evidence = Evidence(one.sign(prepared.digest), stamps)
    document = Cades().package(content, prepared, evidence, one.credential)
    return prepared, evidence, document, joined(document)


def openssl_verify(folder: Path, signed: bytes, root: bytes, content: bytes | None) -> bytes:
    """The document that OpenSSL takes out of the CMS, or beside it where `content` is given. Fails where it finds a fault."""
    (folder / "signed").write_bytes(signed)
    (folder / "root.pem").write_bytes(root)
    command = ["openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", "signed"]
    command += ["-CAfile", "root.pem", "-purpose", "any", "-out", "out"]
    if content is not None:
        (folder / "content").write_bytes(content)
        command += ["-content", "content"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (folder / "out").read_bytes()


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(
    ("kind", "digest_algorithm"),
    [
        ("rsa", "sha256"),
        ("pss", "sha256"),
        ("p256", "sha256"),
        ("p384", "sha384"),
        ("rsa", "sha512"),
        ("p521", "sha512"),
    ],
)
def test_openssl_accepts_it(kind: str, digest_algorithm: str, detached: bool, tmp_path: Path) -> None:
    one = signer(kind, digest_algorithm)
    for size in SIZES[:: 1 if kind == "p256" else 4]:
        content = os.urandom(size)
        prepared, evidence, document, whole = packaged(content, wanted(detached=detached), one)
        assert openssl_verify(tmp_path, whole, one.pem(1), content if detached else None) == content
        added = Cades().added_bytes(prepared, evidence)
        assert len(whole) == document.total_bytes == added + (0 if detached else size)
        assert added <= prepared.additional_bytes
        assert prepared.is_exact is (kind[0] != "p" or kind == "pss")
        assert not prepared.is_exact or added == prepared.additional_bytes


def test_the_document_is_not_copied() -> None:
    content = bytes(1000)
    *_, document, _ = packaged(content, wanted(), signer("rsa"))
    assert any(segment is content for segment in document.segments)
    assert (document.media_type, document.suffix) == ("application/pkcs7-mime", ".p7m")
    *_, document, _ = packaged(content, wanted(detached=True), signer("rsa"))
    assert (document.media_type, document.suffix) == ("application/pkcs7-signature", ".p7s")
    assert len(document.segments) == 1


@pytest.mark.parametrize("detached", [False, True])
def test_the_profile(detached: bool) -> None:
    """EN 319 122-1 6.3, level B, in DER."""
    one, content = signer("p256"), b"any content"
    *_, whole = packaged(content, wanted(detached=detached), one)
    info = cms.ContentInfo.load(whole, strict=True)
    assert info.dump(force=True) == whole
    data = info["content"]
    assert data["version"].native == "v1"
    assert data["encap_content_info"]["content_type"].native == "data"
    assert data["encap_content_info"]["content"].native == (None if detached else content)
    assert {choice.chosen.dump() for choice in data["certificates"]} == set(one.credential.chain)
    (info_of_signer,) = data["signer_infos"]
    attributes = {attribute["type"].native: attribute["values"] for attribute in info_of_signer["signed_attrs"]}
    location = "1.2.840.113549.1.9.16.2.17"
    assert set(attributes) == {"content_type", "message_digest", "signing_certificate_v2", "signing_time", location}
    assert attributes["signing_time"][0].native == MOMENT
    assert attributes["message_digest"][0].native == hashlib.sha256(content).digest()
    assert b"Oeiras" in attributes[location][0].dump()
    assert attributes["content_type"][0].native == "data"


def test_signing_time_after_2049() -> None:
    one = signer("rsa")
    later = MOMENT.replace(year=2050)
    (prepared,) = Cades().prepare([(0, wanted(), b"x")], one.credential, later)
    assert isinstance(prepared, Prepared)
    document = Cades().package(b"x", prepared, Evidence(one.sign(prepared.digest)), one.credential)
    whole = joined(document)
    (info,) = cms.ContentInfo.load(whole)["content"]["signer_infos"]
    (time,) = [a["values"][0] for a in info["signed_attrs"] if a["type"].native == "signing_time"]
    assert (time.name, time.native) == ("generalized_time", later)


@pytest.mark.parametrize(("kind", "detached"), [*itertools.product(["rsa", "p256"], [False, True])])
def test_level_t(kind: str, detached: bool, tmp_path: Path) -> None:
    one = signer(kind)
    for size, token_bytes in itertools.product((100, 70_000), (80, 200, 1_700, 7_900)):
        content = os.urandom(size)
        token = bytes(cms.ContentInfo({"content_type": "data", "content": core.OctetString(bytes(token_bytes))}).dump())
        what = wanted(detached=detached, level=Level.T)
        prepared, evidence, document, whole = packaged(content, what, one, token)
        need = Cades().next_need(prepared, Evidence(evidence.signature), one.credential)
        assert need is not None
        assert (
            need.imprint == hashlib.sha256(evidence.signature).digest()
        )  # EN 319 122-1 5.3: the imprint is over the value of the signature
        assert Cades().next_need(prepared, evidence, one.credential) is None
        added = Cades().added_bytes(prepared, evidence)
        assert len(whole) == document.total_bytes == added + (0 if detached else size)
        assert added <= prepared.additional_bytes
        assert openssl_verify(tmp_path, whole, one.pem(1), content if detached else None) == content
        (info,) = cms.ContentInfo.load(whole)["content"]["signer_infos"]
        (stamp,) = info["unsigned_attrs"]
        assert (stamp["type"].native, stamp["values"][0].dump()) == ("signature_time_stamp_token", token)


def test_nothing_is_given_out_below_its_level_or_about_other_attributes() -> None:
    one = signer("rsa")
    (prepared,) = Cades().prepare([(0, wanted(level=Level.T), b"x")], one.credential, MOMENT)
    assert isinstance(prepared, Prepared)
    value = one.sign(prepared.digest)
    with pytest.raises(ItemRejected, match="time stamp is missing"):
        Cades().package(b"x", prepared, Evidence(value), one.credential)
    with pytest.raises(ItemRejected, match="other attributes"):
        Cades().package(b"x", prepared, Evidence(value), signer("pss").credential)


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        (replace(wanted(), visible=True), "cannot be visible"),
        (wanted(location="\ud800"), "half a surrogate pair"),
    ],
)
def test_a_signature_that_is_not_offered(what: Description, cause: str) -> None:
    refused = Cades().offers(what)
    assert refused is not None
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert cause in refused.cause


def test_every_content_type_is_signed_and_others_are_not() -> None:
    formats = Formats(has_time_stamps=True)
    for kind in ContentType:
        assert formats.refusal(replace(wanted(), content_type=kind)) is None
    refused = formats.refusal(replace(wanted(), signature_type=SignatureType.PADES))
    assert refused is not None
    assert "PAdES signs application/pdf, not application/octet-stream" in refused.cause
