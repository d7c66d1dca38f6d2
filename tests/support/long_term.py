"""Judges signatures of level T, LT and LTA by the standards alone, with lxml, asn1crypto and cryptography.

Imprints are recomputed (EN 319 132-1 5.3 and 5.5.2.2, EN 319 122-1 5.3 and 5.5), and for each certificate that somebody must
trust there has to be an answer about its revocation. Nothing of the code that writes signatures is used.
"""

import copy
import hashlib
from base64 import b64decode
from typing import Any

from asn1crypto import cms, core, crl, ocsp, tsp, x509
from cryptography import x509 as cx509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from lxml import etree

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
XADES_141 = "{http://uri.etsi.org/01903/v1.4.1#}"
ARCHIVE, HASH_INDEX = "0.4.0.1733.2.4", "0.4.0.19122.1.5"


class HashIndex(core.Sequence):  # type: ignore[misc]
    """ATSHashIndexV3 (EN 319 122-1 5.5.2)."""

    _fields = [  # noqa: RUF012
        ("algorithm", cms.DigestAlgorithm),
        ("certificates", core.SequenceOf, {"spec": core.OctetString}),
        ("crls", core.SequenceOf, {"spec": core.OctetString}),
        ("attributes", core.SequenceOf, {"spec": core.OctetString}),
    ]


def canonical(element: Any) -> bytes:
    return bytes(etree.tostring(element, method="c14n", exclusive=True, with_comments=False, with_tail=False))


def check_token(token: bytes, stamped: bytes) -> list[Any]:
    """The token must be about `stamped`, and signed by a certificate in it. Returns its certificates, the signer's first."""
    signed = cms.ContentInfo.load(token)["content"]
    info = signed["encap_content_info"]["content"].parsed
    assert isinstance(info, tsp.TSTInfo)
    imprint = info["message_imprint"]
    name = imprint["hash_algorithm"]["algorithm"].native
    assert imprint["hashed_message"].native == hashlib.new(name, stamped).digest()
    (signer,) = signed["signer_infos"]
    certificates = [choice.chosen for choice in signed["certificates"]]
    (leaf,) = [one for one in certificates if is_named(one, signer)]
    attributes = {one["type"].native: one["values"][0] for one in signer["signed_attrs"]}
    algorithm = signer["digest_algorithm"]["algorithm"].native
    content = signed["encap_content_info"]["content"].contents
    assert attributes["message_digest"].native == hashlib.new(algorithm, content).digest()
    text = b"\x31" + signer["signed_attrs"].dump()[1:]
    check_signature(leaf, signer["signature"].native, text, algorithm)
    return [leaf, *(one for one in certificates if one is not leaf)]


def is_named(certificate: Any, signer: Any) -> bool:
    """Whether a SignerInfo names this certificate."""
    named = signer["sid"].chosen
    return bool(
        named["serial_number"].native == certificate.serial_number
        and named["issuer"].chosen == certificate.issuer.chosen
    )


def check_signature(signer: Any, signature: bytes, text: bytes, digest: str, *, pss: bool = False) -> None:
    """Raises InvalidSignature where the key of the certificate `signer` has not signed `text`."""
    key: Any = cx509.load_der_x509_certificate(signer.dump()).public_key()
    hashing: Any = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[digest]
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, text, ec.ECDSA(hashing))
    elif pss:
        key.verify(signature, text, padding.PSS(padding.MGF1(hashing), hashing.digest_size), hashing)
    else:
        key.verify(signature, text, padding.PKCS1v15(), hashing)


def check_material(leaves: list[Any], certificates: list[Any], responses: list[bytes], crls: list[bytes]) -> None:
    """Every certificate above these leaves is there, and an OCSP response or CRL about each that is no root.

    Answers count where they are signed by the issuer or by a responder of its, whose certificate is there too, and where they say
    that the certificate is good.
    """
    for leaf in leaves:
        at = leaf
        while at.subject != at.issuer:
            issuers = [one for one in certificates if one.subject == at.issuer and has_issued(one, at)]
            assert issuers, f"no issuer of {at.subject.native}"
            answered = any(is_good_by_ocsp(at, issuers[0], der, certificates) for der in responses)
            assert answered or any(is_good_by_crl(at, issuers[0], der) for der in crls), (
                f"no revocation data about {at.subject.native}"
            )
            at = issuers[0]


def has_issued(issuer: Any, certificate: Any) -> bool:
    try:
        cx509.load_der_x509_certificate(certificate.dump()).verify_directly_issued_by(
            cx509.load_der_x509_certificate(issuer.dump())
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def is_good_by_ocsp(certificate: Any, issuer: Any, der: bytes, certificates: list[Any]) -> bool:
    """Whether the OCSPResponse (RFC 6960) is about this certificate; then it must be right, and say "good"."""
    basic = ocsp.OCSPResponse.load(der, strict=True).basic_ocsp_response
    for single in basic["tbs_response_data"]["responses"]:
        about = single["cert_id"]
        name = about["hash_algorithm"]["algorithm"].native
        key_digest = hashlib.new(name, bytes(issuer.public_key["public_key"])).digest()
        if (about["serial_number"].native, about["issuer_key_hash"].native) != (certificate.serial_number, key_digest):
            continue
        assert single["cert_status"].name == "good"
        named = basic["tbs_response_data"]["responder_id"]
        identities = {"by_key": lambda one: one.public_key.sha1, "by_name": lambda one: one.subject.native}
        (responder, *_) = [one for one in [issuer, *certificates] if identities[named.name](one) == named.native]
        if responder.dump() != issuer.dump():
            assert has_issued(issuer, responder)
            assert "ocsp_signing" in responder.extended_key_usage_value.native
        algorithm = basic["signature_algorithm"].hash_algo
        check_signature(responder, basic["signature"].native, basic["tbs_response_data"].dump(), algorithm)
        return True
    return False


def is_good_by_crl(certificate: Any, issuer: Any, der: bytes) -> bool:
    """Whether the list (RFC 5280 5) is of this issuer; then it must be right, and not name the certificate."""
    found = crl.CertificateList.load(der, strict=True)
    if found.issuer != issuer.subject:
        return False
    algorithm = found["signature_algorithm"].hash_algo
    check_signature(issuer, found.signature, found["tbs_cert_list"].dump(), algorithm)
    revoked = found["tbs_cert_list"]["revoked_certificates"]
    return certificate.serial_number not in [one["user_certificate"].native for one in revoked or ()]


def xades_level(content: bytes) -> str:
    """The level of the one XAdES signature over the whole document, after all of it was recomputed."""
    root = etree.fromstring(content)
    (signature,) = root.iter(f"{DS}Signature")
    properties = signature.find(f".//{XADES}UnsignedSignatureProperties")
    if properties is None:
        return "B"
    value = signature.find(f"{DS}SignatureValue")
    stamp = properties.find(f"{XADES}SignatureTimeStamp")
    stampers = check_token(b64decode(stamp.findtext(f"{XADES}EncapsulatedTimeStamp")), canonical(value))
    if properties.find(f"{XADES}RevocationValues") is None:
        return "T"

    def ders(path: str) -> list[bytes]:
        return [b64decode(one.text) for one in signature.iterfind(path)]

    own = [x509.Certificate.load(one) for one in ders(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")]
    more = [
        x509.Certificate.load(one) for one in ders(f".//{XADES}CertificateValues/{XADES}EncapsulatedX509Certificate")
    ]
    responses = ders(f".//{XADES}RevocationValues/{XADES}OCSPValues/{XADES}EncapsulatedOCSPValue")
    crls = ders(f".//{XADES}RevocationValues/{XADES}CRLValues/{XADES}EncapsulatedCRLValue")
    check_material([own[0], stampers[0]], [*own, *more, *stampers], responses, crls)
    archive = properties.find(f"{XADES_141}ArchiveTimeStamp")
    if archive is None:
        return "LT"
    signed_properties = signature.find(f".//{XADES}SignedProperties")
    covered = _document_without(root) + canonical(signed_properties)
    covered += b"".join(
        canonical(signature.find(f"{DS}{name}")) for name in ("SignedInfo", "SignatureValue", "KeyInfo")
    )
    for one in properties:
        if one is archive:
            break
        covered += canonical(one)
    check_token(b64decode(archive.findtext(f"{XADES}EncapsulatedTimeStamp")), covered)
    return "LTA"


def _document_without(root: Any) -> bytes:
    """What the first reference is about: the canonical document without its signature."""
    tree = copy.deepcopy(root.getroottree())
    (signature,) = tree.iter(f"{DS}Signature")
    parent, before = signature.getparent(), signature.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + (signature.tail or "")
    else:
        parent.text = (parent.text or "") + (signature.tail or "")
    parent.remove(signature)
    return bytes(etree.tostring(tree, method="c14n", exclusive=True, with_comments=False))


def cades_level(whole: bytes, content: bytes) -> str:
    """The level of a CAdES signature over `content`, attached or detached, after all of it was recomputed."""
    data = cms.ContentInfo.load(whole, strict=True)["content"]
    (signer,) = data["signer_infos"]
    attached = data["encap_content_info"]["content"].native
    assert attached is None or attached == content
    certificates = [choice.chosen for choice in data["certificates"]]
    (leaf,) = [one for one in certificates if is_named(one, signer)]
    check_signer_info(signer, leaf, content)
    unsigned = {one["type"].dotted: one["values"][0] for one in signer["unsigned_attrs"] or ()}
    if not unsigned:
        return "B"
    stampers = check_token(unsigned["1.2.840.113549.1.9.16.2.14"].dump(), signer["signature"].native)
    if not len(data["crls"] or ()):
        return "T"
    others = [one.chosen for one in data["crls"] if one.name == "other"]
    assert data["version"].native == ("v5" if others else "v1")
    assert {one["other_rev_info_format"].dotted for one in others} <= {"1.3.6.1.5.5.7.16.2"}
    crls = [one.chosen.dump() for one in data["crls"] if one.name != "other"]
    responses = [one["other_rev_info"].dump() for one in others]
    check_material([leaf, stampers[0]], [*certificates, *stampers], responses, crls)
    if ARCHIVE not in unsigned:
        return "LT"
    check_archive(data, unsigned[ARCHIVE].dump(), content)
    return "LTA"


def check_signer_info(signer: Any, leaf: Any, content: bytes) -> None:
    """The signature must be about the content (RFC 5652 5.4)."""
    attributes = {one["type"].native: one["values"][0] for one in signer["signed_attrs"]}
    digest = signer["digest_algorithm"]["algorithm"].native
    assert attributes["message_digest"].native == hashlib.new(digest, content).digest()
    is_pss = signer["signature_algorithm"].signature_algo == "rsassa_pss"
    text = b"\x31" + signer["signed_attrs"].dump()[1:]
    check_signature(leaf, signer["signature"].native, text, digest, pss=is_pss)


def check_archive(data: Any, encoded: bytes, content: bytes) -> None:
    """The archive time stamp must be about all that is there but itself (EN 319 122-1 5.5.2 and 5.5.3)."""
    (signer,) = data["signer_infos"]
    token = cms.ContentInfo.load(encoded)
    (stamper,) = token["content"]["signer_infos"]
    (raw,) = [one["values"][0].dump() for one in stamper["unsigned_attrs"] if one["type"].dotted == HASH_INDEX]
    index = HashIndex.load(raw, strict=True)
    name = index["algorithm"]["algorithm"].native

    def digests(values: list[bytes]) -> list[bytes]:
        return sorted(hashlib.new(name, value).digest() for value in values)

    before = [one for one in signer["unsigned_attrs"] if one["type"].dotted != ARCHIVE]
    there = {
        "certificates": [one.dump() for one in data["certificates"]],
        "crls": [one.dump() for one in data["crls"]],
        "attributes": [one["type"].dump() + value.dump() for one in before for value in one["values"]],
    }
    # Each is there once: none is left out, and none is digested that is not there.
    assert {kind: sorted(index[kind].native) for kind in there} == {kind: digests(one) for kind, one in there.items()}
    imprint = token["content"]["encap_content_info"]["content"].parsed["message_imprint"]
    content_digest = hashlib.new(imprint["hash_algorithm"]["algorithm"].native, content).digest()
    names = ("version", "sid", "digest_algorithm", "signed_attrs", "signature_algorithm", "signature")
    covered = data["encap_content_info"]["content_type"].dump() + content_digest
    check_token(encoded, covered + b"".join(signer[name].dump() for name in names) + raw)
