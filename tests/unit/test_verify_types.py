"""`batchseal verify` on XML and CMS: on what this project signed, on what others signed, and after changes."""

import hashlib
import re
import shutil
from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from harness.validators import judging
from harness.validators.xml import jdk_verify, xmlsec1_verify
from lxml import etree
from signxml.algorithms import SignatureConstructionMethod
from signxml.xades.xades import XAdESSigner, XAdESVerifier
from tests.support.signing_keys import signer
from tests.support.xml_documents import INVOICE, MOMENT, encoded, joined, signed, wanted

from batchseal.commands.verify import check_file
from batchseal.document import Description, Evidence, Prepared
from batchseal.formats.cades.cades import Cades
from batchseal.operation import ContentType
from batchseal.signature import SignatureOptions, SignatureType

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"


def roots(kind: str = "rsa") -> list[bytes]:
    return [signer(kind).credential.chain[1]]


@pytest.mark.parametrize("kind", ["rsa", "pss", "p256", "p521"])
@pytest.mark.parametrize("transform", ["ENVELOPED", "XPATH", "XPATH2_FILTER"])
def test_xades_is_valid(kind: str, transform: str, tmp_path: Path) -> None:
    path = tmp_path / "signed.xml"
    what = wanted(transform=transform, canonical="EXCLUSIVE_WITH_COMMENTS", covers_comments=True)
    path.write_bytes(signed(encoded(INVOICE, "UTF-16"), what, signer(kind)))
    verdict = check_file(path, roots(kind))
    assert verdict.valid, verdict.problem
    assert (verdict.signer, verdict.level, verdict.coverage) == (f"Seal {kind}", "B", "the document")
    assert check_file(path, []).valid
    assert "does not lead to the root" in check_file(path, roots("p384")).problem


def test_two_signatures_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "signed.xml"
    once = signed(INVOICE.encode(), wanted(transform="XPATH"), signer("rsa"))
    path.write_bytes(signed(once, wanted(transform="XPATH2_FILTER", at="ext:ExtensionContent"), signer("rsa")))
    verdict = check_file(path, roots())
    assert (verdict.valid, verdict.signatures) == (True, 2), verdict.problem


def test_properties_that_nobody_signed_do_not_name_the_signer(tmp_path: Path) -> None:
    """Anybody may add a certificate for the same key, and an object that names it, in front of the signed properties."""
    path, one = tmp_path / "signed.xml", signer("rsa")
    root = etree.fromstring(signed(INVOICE.encode(), wanted(transform="ENVELOPED"), one))
    key = x509.load_der_x509_certificate(one.credential.chain[0]).public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody else")])
    issuer = ec.generate_private_key(ec.SECP256R1())
    other = x509.CertificateBuilder(name, name, key, 1, MOMENT, MOMENT + timedelta(days=9)).sign(
        issuer, hashes.SHA256()
    )
    der = other.public_bytes(Encoding.DER)
    data, properties = root.find(f".//{DS}X509Data"), root.find(f".//{XADES}SignedSignatureProperties")
    certificate = deepcopy(data[0])
    certificate.text = b64encode(der).decode()
    data.insert(0, certificate)
    fake = deepcopy(properties)
    fake.find(f".//{DS}DigestMethod").set("Algorithm", "http://www.w3.org/2001/04/xmlenc#sha256")
    fake.find(f".//{DS}DigestValue").text = b64encode(hashlib.sha256(der).digest()).decode()
    holder = etree.Element(f"{DS}Object")
    holder.append(fake)
    data.getparent().addnext(holder)
    path.write_bytes(etree.tostring(root.getroottree()))
    verdict = check_file(path, roots())
    assert (verdict.valid, verdict.signer) == (True, "Seal rsa"), verdict.problem


def about_the_whole_document(content: bytes, transform: str) -> bytes:
    """A signature whose digest covers comments and whose reference is URI="", which is not about them."""
    one = signer("rsa")
    what = wanted(transform=transform, canonical="EXCLUSIVE_WITH_COMMENTS", covers_comments=True)
    root = etree.fromstring(signed(content, what, one))
    info = root.find(f".//{DS}Signature/{DS}SignedInfo")
    reference = info.find(f"{DS}Reference")
    assert reference.get("URI") == "#xpointer(/)"
    reference.set("URI", "")
    text = etree.tostring(info, method="c14n", exclusive=True, with_tail=False)
    root.find(f".//{DS}SignatureValue").text = b64encode(one.sign(hashlib.sha256(text).digest())).decode()
    return bytes(etree.tostring(root.getroottree()))


def test_a_reference_to_the_whole_document_is_not_about_its_comments(tmp_path: Path) -> None:
    """Whatever the canonical form says (XML Signature 1.1, 4.4.3.3). A filter of XPath cannot bring them back."""
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(signer("rsa").pem(0))
    files = {}
    for transform in ("ENVELOPED", "XPATH", "XPATH2_FILTER"):
        for name, text in (("with", INVOICE), ("without", re.sub("<!--.*?-->", "", INVOICE))):
            path = tmp_path / f"{transform} {name} comments.xml"
            path.write_bytes(about_the_whole_document(text.encode(), transform))
            files[path] = is_right = name == "without"
            problem = "" if is_right else "the digest of reference '' is not right"
            assert check_file(path, roots()).problem == problem
    with judging():
        assert jdk_verify([(path, pem) for path in files]) == {path: [is_right] for path, is_right in files.items()}
        assert {path: xmlsec1_verify(path, pem) == "" for path in files} == files


def changed_text(root: Any) -> None:
    next(e for e in root.iter("{*}ID")).text = "FT 2026/6"


def changed_time(root: Any) -> None:
    root.find(f".//{XADES}SigningTime").text = "2026-11-28T18:00:01Z"


def changed_value(root: Any) -> None:
    value = root.find(f".//{DS}SignatureValue")
    value.text = ("B" if value.text[0] == "A" else "A") + value.text[1:]


def another_certificate(root: Any) -> None:
    certificates = root.findall(f".//{DS}X509Certificate")
    certificates[0].text, certificates[1].text = certificates[1].text, certificates[0].text
    root.find(f".//{XADES}CertDigest/{DS}DigestValue").text = "AAAA"


def no_reference_to_properties(root: Any) -> None:
    info = root.find(f".//{DS}SignedInfo")
    info.remove(info[-1])


def properties_of_another(root: Any) -> None:
    root.find(f".//{XADES}QualifyingProperties").set("Target", "#another")


def unknown_transform(root: Any) -> None:
    root.find(f".//{DS}Transform").set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")


def a_second_element_with_the_id(root: Any) -> None:
    root.append(etree.fromstring(etree.tostring(root.find(f".//{XADES}SignedProperties"))))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed_text, "the digest of reference '' is not right"),
        (changed_time, "is not right"),
        (changed_value, "the signature value is not right"),
        (another_certificate, "the certificate that its properties name is not there"),
        (no_reference_to_properties, "no reference covers its properties"),
        (properties_of_another, "its properties name another signature"),
        (unknown_transform, "xslt-19991116 of reference '' is not known"),
        (a_second_element_with_the_id, "2 elements have the id"),
    ],
)
def test_a_changed_document_is_not_valid(change: Callable[[Any], None], problem: str, tmp_path: Path) -> None:
    root = etree.fromstring(signed(INVOICE.encode(), wanted(), signer("rsa")))
    change(root)
    path = tmp_path / "changed.xml"
    path.write_bytes(etree.tostring(root.getroottree()))
    verdict = check_file(path, roots())
    assert not verdict.valid
    assert problem in verdict.problem


def test_xml_without_a_signature_or_with_a_doctype(tmp_path: Path) -> None:
    path = tmp_path / "plain.xml"
    path.write_bytes(b"<a/>")
    assert check_file(path, []).problem == "no signature"
    path.write_bytes(b'<!DOCTYPE a [<!ENTITY b "c">]><a/>')
    assert "DOCTYPE" in check_file(path, []).problem


def test_signxml_accepts_ours() -> None:
    """A peer that knows the enveloped form and no other."""
    one = signer("rsa")
    # It takes URI="" for the root element, so there may be nothing beside it.
    content = signed(b"<a xmlns='urn:a' b='1'><c>text</c><!-- d --></a>", wanted(), one)
    root = x509.load_der_x509_certificate(one.credential.chain[0])
    assert XAdESVerifier().verify(content, x509_cert=root, expect_references=2)


def test_what_signxml_signed_is_judged(tmp_path: Path) -> None:
    """Its own reference has no canonical transform and so means the inclusive form, which it digests in another way."""
    one = signer("rsa")
    signing = XAdESSigner(
        method=SignatureConstructionMethod.enveloped, c14n_algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
    )
    chain = [x509.load_der_x509_certificate(der) for der in one.credential.chain]
    theirs = signing.sign(etree.fromstring(b"<a><b/></a>"), key=one.key, cert=chain)
    path = tmp_path / "theirs.xml"
    path.write_bytes(etree.tostring(theirs))
    verdict = check_file(path, roots())
    assert verdict.signer in ("Seal rsa", "")
    assert verdict.signatures == 1


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
def test_files_that_other_judges_accepted(tmp_path: Path) -> None:
    from batchseal.commands.verify import load_roots

    trusted = load_roots([JUDGED / "root.pem"])
    levels = {}
    for source in sorted(JUDGED.glob("*.xml")):
        verdict = check_file(source, trusted)
        if source.name == "x_XPATH2_FILTER_c_ubl.xml":
            # Its reference is URI="" and its digest covers comments: xmlsec1 and the JDK refuse it as well.
            assert verdict.problem == "the digest of reference '' is not right"
            continue
        assert verdict.valid, f"{source.name}: {verdict.problem}"
        levels[source.name] = verdict.level
    assert levels["xades-bt.xml"] == "T"
    assert levels["x_latin1.xml"] == "B"
    shutil.copy(JUDGED / "det.p7s", tmp_path / "data.bin.p7s")
    verdict = check_file(tmp_path / "data.bin.p7s", trusted, JUDGED)
    assert verdict.valid, verdict.problem


# --- CMS --------------------------------------------------------------------------------------------------------------


def sign_cms(content: bytes, kind: str, *, detached: bool) -> bytes:
    one = signer(kind)
    what = Description(
        "ref",
        "data.bin",
        ContentType.OTHER,
        None,
        None,
        signature_type=SignatureType.CADES,
        options=SignatureOptions(detached=detached),
    )
    (prepared,) = Cades().prepare([(0, what, content)], one.credential, MOMENT)
    assert isinstance(prepared, Prepared)
    document = Cades().package(content, prepared, Evidence(one.sign(prepared.digest)), one.credential)
    return joined(document)


@pytest.mark.parametrize("kind", ["rsa", "pss", "p256"])
def test_cades_is_valid(kind: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    attached, detached = tmp_path / "data.bin.p7m", tmp_path / "data.bin.p7s"
    attached.write_bytes(sign_cms(content, kind, detached=False))
    detached.write_bytes(sign_cms(content, kind, detached=True))
    verdict = check_file(attached, roots(kind))
    assert verdict.valid, verdict.problem
    assert (verdict.signer, verdict.level, verdict.coverage) == (f"Seal {kind}", "B", "attached")
    assert "is detached" in check_file(detached, roots(kind)).problem
    originals = tmp_path / "originals"
    originals.mkdir()
    (originals / "data.bin").write_bytes(content)
    verdict = check_file(detached, roots(kind), originals)
    assert (verdict.valid, verdict.coverage) == (True, "the file data.bin"), verdict.problem
    assert "does not lead to the root" in check_file(attached, roots("p384")).problem
    (tmp_path / "data.bin").write_bytes(content[:-1])
    assert "broken" in check_file(detached, roots(kind)).problem


def test_changed_cms_is_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "data.bin.p7m"
    whole = sign_cms(b"the content of the document", "rsa", detached=False)
    path.write_bytes(whole.replace(b"content of", b"content in"))
    assert "broken" in check_file(path, roots()).problem
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "broken" in check_file(path, roots()).problem
    path.write_bytes(cms.ContentInfo({"content_type": "data", "content": b"x"}).dump())
    assert "no signature" in check_file(path, roots()).problem
    path.write_bytes(whole[:-3])
    assert not check_file(path, roots()).valid
