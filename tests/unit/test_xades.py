"""XAdES as other people's programs judge it: xmlsec1, the JDK, lxml with cryptography; and that the original stays as it was."""

import hashlib
import itertools
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from harness.validators import judging
from harness.validators.xml import jdk_verify, xmlsec1_verify
from lxml import etree
from tests.support.signing_keys import DIGESTS, signer
from tests.support.xml_documents import (
    CANONICAL,
    ENCODINGS,
    INVOICE,
    MOMENT,
    TRANSFORMS,
    canonical,
    encoded,
    joined,
    one_insertion,
    parsed,
    prepared,
    refusal,
    signed,
    wanted,
    without_last_signature,
)

from batchseal.document import Evidence
from batchseal.errors import ItemRejected
from batchseal.formats.xades.xades import Xades
from batchseal.signature import Level, SignaturePolicy

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
CORPUS = Path(__file__).parents[3] / "shared" / "corpus-xml"
JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"

LOCATIONS = ("", "ext:ExtensionContent", "/Invoice/cbc:Note")
KEYS = ("rsa", "pss", "p256")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    paths = {kind: folder / f"{kind}.pem" for kind in (*KEYS, "p384", "p521")}
    for kind, path in paths.items():
        path.write_bytes(signer(kind).pem(0))
    return paths


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, bytes, str, str]]:
    """Each combination of transform, canonical form, location, encoding and key: file, original, canonical form, key."""
    folder, made = tmp_path_factory.mktemp("xades"), []
    for number, (transform, form, at, encoding, key) in enumerate(
        itertools.product(TRANSFORMS, CANONICAL, LOCATIONS, ENCODINGS, KEYS)
    ):
        original, path = encoded(INVOICE, encoding), folder / f"{number}.xml"
        # Comments are covered in every second document that could cover them.
        covers = form != "EXCLUSIVE" and number % 2 == 0
        what = wanted(transform=transform, canonical=form, at=at, covers_comments=covers)
        path.write_bytes(signed(original, what, signer(key)))
        made.append((path, original, form, key))
    return made


def test_the_jdk_accepts_every_combination(
    product: list[tuple[Path, bytes, str, str]], certificates: dict[str, Path]
) -> None:
    with judging():
        verdicts = jdk_verify([(path, certificates[key]) for path, _, _, key in product])
    assert {path: said for path, said in verdicts.items() if said != [True]} == {}
    assert len(verdicts) == len(product)


def test_xmlsec1_accepts_every_combination_that_it_knows(
    product: list[tuple[Path, bytes, str, str]], certificates: dict[str, Path]
) -> None:
    with judging():
        # Every second one: a process for each takes time, and the JDK sees all.
        known = [(path, key) for path, _, _, key in product[::2] if key != "pss"]
        said = {path: xmlsec1_verify(path, certificates[key]) for path, key in known}
    assert len(said) > 100
    assert {path: problem for path, problem in said.items() if problem} == {}


def test_the_original_is_untouched_and_its_canonical_form_is_what_is_signed(
    product: list[tuple[Path, bytes, str, str]],
) -> None:
    for path, original, _, _ in product:
        content = path.read_bytes()
        inserted = one_insertion(original, content)
        assert len(inserted) - 1 <= len(content) - len(original) + 2
        assert canonical(without_last_signature(content), comments=True) == canonical(parsed(original), comments=True)
        reference = parsed(content).find(f".//{DS}Reference")
        comments = reference.get("URI") == "#xpointer(/)"
        digest = hashlib.sha256(canonical(parsed(original), comments=comments)).digest()
        assert b64decode(reference.findtext(f"{DS}DigestValue")) == digest


@pytest.mark.parametrize("digest_algorithm", DIGESTS)
def test_pss_over_the_canonical_signed_info(digest_algorithm: str) -> None:
    pss = signer("pss", digest_algorithm)
    tree = parsed(signed(INVOICE.encode(), wanted(), pss))
    signature = tree.find(f".//{DS}Signature")
    info = etree.tostring(signature.find(f"{DS}SignedInfo"), method="c14n", exclusive=True, with_tail=False)
    algorithm = DIGESTS[digest_algorithm]
    key = x509.load_der_x509_certificate(b64decode(signature.findtext(f".//{DS}X509Certificate"))).public_key()
    value = b64decode(signature.findtext(f"{DS}SignatureValue"))
    key.verify(value, info, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)  # type: ignore
    (method,) = signature.findall(f".//{DS}SignatureMethod")
    assert method.get("Algorithm") == f"http://www.w3.org/2007/05/xmldsig-more#{digest_algorithm}-rsa-MGF1"


@pytest.mark.parametrize(
    ("kind", "digest_algorithm"), [("p384", "sha384"), ("p521", "sha512"), ("rsa", "sha512"), ("p256", "sha384")]
)
def test_other_curves_and_digests(kind: str, digest_algorithm: str, tmp_path: Path) -> None:
    one = signer(kind, digest_algorithm)
    (tmp_path / "certificate.pem").write_bytes(one.pem(0))
    for number in range(4):  # r and s may begin with zeros
        (tmp_path / f"{number}.xml").write_bytes(signed(INVOICE.encode(), wanted(), one))
    files = [tmp_path / f"{number}.xml" for number in range(4)]
    with judging():
        assert jdk_verify([(path, tmp_path / "certificate.pem") for path in files]) == {path: [True] for path in files}
        assert [xmlsec1_verify(path, tmp_path / "certificate.pem") for path in files] == [""] * 4


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of invoices is not here")
def test_real_invoices(tmp_path: Path, certificates: dict[str, Path]) -> None:
    files = []
    for number, source in enumerate(sorted(CORPUS.glob("*.xml"))):
        content, transform = source.read_bytes(), TRANSFORMS[number % 3]
        result = signed(content, wanted(transform=transform), signer("rsa"))
        assert one_insertion(content, result).startswith(b"<ds:Signature ") or result.count(b"<ds:Signature ") == 1
        assert canonical(without_last_signature(result)) == canonical(parsed(content))
        files.append(tmp_path / source.name)
        files[-1].write_bytes(result)
    assert files
    with judging():
        verdicts = jdk_verify([(path, certificates["rsa"]) for path in files])
        assert {path: said for path, said in verdicts.items() if said != [True]} == {}
        assert [said for path in files if (said := xmlsec1_verify(path, certificates["rsa"]))] == []


def test_the_properties_are_those_of_the_profile() -> None:
    """EN 319 132-1 6.3, level B."""
    one = signer("rsa")
    signature = parsed(signed(INVOICE.encode(), wanted(), one)).find(f".//{DS}Signature")
    assert [child.tag for child in signature] == [
        f"{DS}{name}" for name in ("SignedInfo", "SignatureValue", "KeyInfo", "Object")
    ]
    document, properties = signature.findall(f"{DS}SignedInfo/{DS}Reference")
    assert (document.get("URI"), properties.get("Type")) == ("", "http://uri.etsi.org/01903#SignedProperties")
    exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
    assert [t.get("Algorithm") for t in properties.iter(f"{DS}Transform")] == [exclusive]
    assert [t.get("Algorithm") for t in document.iter(f"{DS}Transform")][-1] == exclusive
    qualifying = signature.find(f"{DS}Object/{XADES}QualifyingProperties")
    assert qualifying.get("Target") == f"#{signature.get('Id')}"
    signed_properties = qualifying.find(f"{XADES}SignedProperties")
    assert properties.get("URI") == f"#{signed_properties.get('Id')}"
    about_signature = signed_properties.find(f"{XADES}SignedSignatureProperties")
    assert [child.tag.removeprefix(XADES) for child in about_signature] == [
        "SigningTime",
        "SigningCertificateV2",
        "SignatureProductionPlaceV2",
    ]
    assert about_signature.findtext(f"{XADES}SigningTime") == MOMENT.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert about_signature.findtext(f".//{XADES}City") == "Oeiras"
    digest = b64decode(about_signature.findtext(f".//{DS}DigestValue"))
    assert digest == hashlib.sha256(one.credential.chain[0]).digest()
    form = signed_properties.find(f"{XADES}SignedDataObjectProperties/{XADES}DataObjectFormat")
    assert form.get("ObjectReference") == f"#{document.get('Id')}"
    assert form.findtext(f"{XADES}MimeType") == "text/xml"
    chain = [b64decode(element.text) for element in signature.iter(f"{DS}X509Certificate")]
    assert chain == list(one.credential.chain)


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
@pytest.mark.parametrize(("name", "level"), [("x_ENVELOPED_n_ubl", Level.B), ("xades-bt", Level.T)])
def test_the_structure_is_that_of_files_that_other_judges_accepted(name: str, level: Level) -> None:
    """Element by element: EU DSS has accepted these."""
    theirs = etree.parse(JUDGED / f"{name}.xml").find(f".//{DS}Signature")
    one, original = signer("rsa"), INVOICE.encode()
    transform = "XPATH2_FILTER" if level is Level.T else "ENVELOPED"
    record = prepared(original, replace(wanted(level=level, transform=transform), location=None), one)
    evidence = Evidence(one.sign(record.digest))
    if (need := Xades().next_need(record, evidence, one.credential)) is not None:
        evidence = Evidence(evidence.signature, (need.imprint,))
    document = Xades().package(original, record, evidence, one.credential)
    ours = parsed(joined(document)).find(f".//{DS}Signature")

    def shape(signature: Any) -> list[tuple[str, tuple[str, ...]]]:
        """The names of elements and attributes, in order; without the length of the chain, and without ids that need not be."""
        found: list[tuple[str, tuple[str, ...]]] = []
        for element in signature.iter():
            attributes = sorted(name for name in element.attrib if name != "Id" or "TimeStamp" not in element.tag)
            entry = (element.tag, tuple(attributes))
            if not (found and found[-1] == entry and element.tag == f"{DS}X509Certificate"):
                found.append(entry)
        return found

    assert shape(ours) == shape(theirs)
    for tag in ("CanonicalizationMethod", "SignatureMethod", "Transform", "DigestMethod"):
        algorithms = [[e.get("Algorithm") for e in each.iter(f"{DS}{tag}")] for each in (ours, theirs)]
        assert algorithms[0] == algorithms[1]


def test_a_policy_and_a_role(tmp_path: Path, certificates: dict[str, Path]) -> None:
    """XAdES-EPES (EN 319 132-1 5.2.9), in an encoding that lacks characters of the role and of the place."""
    policy = SignaturePolicy(
        "http://example.test/politica&v=3.1", "sha1", bytes(range(20)), "http://example.test/p.pdf"
    )
    what = wanted(policy=policy, role="fornecedor <€, Łódź> \r")
    path = tmp_path / "epes.xml"
    path.write_bytes(signed(encoded(INVOICE, "ISO-8859-1"), what, signer("rsa")))
    properties = parsed(path.read_bytes()).find(f".//{XADES}SignedSignatureProperties")
    assert [child.tag.removeprefix(XADES) for child in properties] == [
        "SigningTime",
        "SigningCertificateV2",
        "SignaturePolicyIdentifier",
        "SignatureProductionPlaceV2",
        "SignerRoleV2",
    ]
    assert properties.findtext(f".//{XADES}Identifier") == policy.identifier
    (hashed,) = properties.findall(f".//{XADES}SigPolicyHash")
    assert hashed.find(f"{DS}DigestMethod").get("Algorithm") == "http://www.w3.org/2000/09/xmldsig#sha1"
    assert b64decode(hashed.findtext(f"{DS}DigestValue")) == policy.digest
    assert properties.findtext(f".//{XADES}SPURI") == policy.url
    assert properties.findtext(f".//{XADES}ClaimedRole") == "fornecedor <€, Łódź> \r"
    with judging():
        assert jdk_verify([(path, certificates["rsa"])]) == {path: [True]}
        assert xmlsec1_verify(path, certificates["rsa"]) == ""


# --- further signatures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [*itertools.product(TRANSFORMS[1:], TRANSFORMS[1:]), ("XPATH", "ENVELOPED")]
)
def test_a_second_signature_leaves_the_first_valid(
    first: str, second: str, tmp_path: Path, certificates: dict[str, Path]
) -> None:
    once = signed(INVOICE.encode(), wanted(transform=first, at="ext:ExtensionContent"), signer("rsa"))
    twice = signed(once, wanted(transform=second), signer("rsa"))  # of the same moment: the ids would be the same
    assert canonical(without_last_signature(twice)) == canonical(parsed(once))
    path = tmp_path / "two.xml"
    path.write_bytes(twice)
    with judging():
        assert jdk_verify([(path, certificates["rsa"])]) == {path: [True, True]}
        assert [xmlsec1_verify(path, certificates["rsa"], number) for number in (1, 2)] == ["", ""]


@pytest.mark.parametrize("second", TRANSFORMS)
def test_a_signature_that_covers_everything_is_not_broken_by_another(second: str) -> None:
    once = signed(INVOICE.encode(), wanted(), signer("rsa"))
    said = refusal(once, wanted(transform=second), signer("rsa"))
    assert "signature 1 of the document covers all that is added" in said.cause


def test_a_signature_about_another_part_is_not_in_the_way(tmp_path: Path, certificates: dict[str, Path]) -> None:
    inner = '<part Id="p1">text</part>'
    elsewhere = (
        '<s:Signature xmlns:s="http://www.w3.org/2000/09/xmldsig#"><s:SignedInfo><s:Reference URI="#p1"/>'
        '<s:Reference URI="other.xml"/></s:SignedInfo></s:Signature>'
    )
    content = f"<doc>{inner}{elsewhere}<here/></doc>".encode()
    path = tmp_path / "parts.xml"
    path.write_bytes(signed(content, wanted(transform="XPATH", at="here"), signer("rsa")))
    with judging():
        assert xmlsec1_verify(path, certificates["rsa"], 2) == ""
    assert "reference '#p1'" in refusal(content, wanted(transform="XPATH", at="/doc/part"), signer("rsa")).cause
    cannot_tell = content.replace(b'"#p1"', b'"#xpointer(//part)"')
    assert "signature 1" in refusal(cannot_tell, wanted(transform="XPATH", at="here"), signer("rsa")).cause


def test_ids_of_the_document_are_not_used_again() -> None:
    one = signer("rsa")
    first = parsed(signed(b"<a/>", wanted(), one))
    taken = [element.get("Id") for element in first.iter() if element.get("Id")]
    for name in ("Id", "ID", "id", "xml:id"):
        content = f'<a {name}="{taken[1]}"/>'.encode()
        ids = [e.get("Id") for e in parsed(signed(content, wanted(), one)).iter("{*}*") if e.get("Id")]
        assert taken[1] not in ids[1 if name == "Id" else 0 :]
        assert len(set(ids)) == len(ids)


# --- time stamps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_level_t(kind: str, encoding: str, tmp_path: Path, certificates: dict[str, Path]) -> None:
    """The imprint is that of the canonical SignatureValue element (EN 319 132-1 5.3), as lxml sees it in the result."""
    one, original = signer(kind), encoded(INVOICE, encoding)
    record = prepared(original, wanted(level=Level.T), one)
    evidence = Evidence(one.sign(record.digest))
    need = Xades().next_need(record, evidence, one.credential)
    assert need is not None
    token = b"token about " + need.imprint + bytes(1700)
    complete = Evidence(evidence.signature, (token,))
    assert Xades().next_need(record, complete, one.credential) is None
    document = Xades().package(original, record, complete, one.credential)
    whole = joined(document)
    assert len(whole) == len(original) + Xades().added_bytes(record, complete)
    assert Xades().added_bytes(record, complete) <= record.additional_bytes
    signature = parsed(whole).find(f".//{DS}Signature")
    value = signature.find(f"{DS}SignatureValue")
    assert (
        need.imprint == hashlib.sha256(etree.tostring(value, method="c14n", exclusive=True, with_tail=False)).digest()
    )
    stamp = signature.find(f".//{XADES}UnsignedSignatureProperties/{XADES}SignatureTimeStamp")
    assert b64decode(stamp.findtext(f"{XADES}EncapsulatedTimeStamp")) == token
    path = tmp_path / "t.xml"
    path.write_bytes(whole)
    with judging():
        assert jdk_verify([(path, certificates[kind])]) == {path: [True]}


def test_nothing_is_given_out_below_its_level_or_about_another_text() -> None:
    one, original = signer("rsa"), INVOICE.encode()
    record = prepared(original, wanted(level=Level.T), one)
    value = one.sign(record.digest)
    with pytest.raises(ItemRejected, match="missing"):
        Xades().package(original, record, Evidence(value), one.credential)
    with pytest.raises(ItemRejected, match="time stamp is about another text"):
        Xades().package(original, record, Evidence(value, (b"another token",)), one.credential)
    with pytest.raises(ItemRejected, match="signature is about another text"):
        Xades().package(original, record, Evidence(value, (b"",)), signer("pss").credential)
    with pytest.raises(ItemRejected, match="does not fit"):
        Xades().package(original, record, Evidence(value[:-1], (b"token",)), one.credential)
