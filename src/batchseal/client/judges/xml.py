"""Judges XAdES signatures for `batchseal verify`: references by lxml, values by cryptography, certificate paths by pyHanko.

Nothing of the code that writes signatures is used here. What this does not know (a transform, an algorithm, a reference to
another file) makes a signature not valid, and is named.
"""

import asyncio
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchseal.client.judges.verdicts import Verdict, name_of, trust_in

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
SIGNED_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
FILTER2 = "{http://www.w3.org/2002/06/xmldsig-filter2}"

DIGESTS = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}
# Whether it is exclusive, and whether it keeps comments.
CANONICAL = {
    "http://www.w3.org/2001/10/xml-exc-c14n#": (True, False),
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments": (True, True),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": (False, False),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments": (False, True),
}
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XPATH2_FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"


def judge_xml(path: Path, roots: Sequence[bytes]) -> Verdict:
    """The verdict on one file: each of its signatures must be right, and one of them must cover the document."""
    content = path.read_bytes()
    count = len(_signatures(content))
    if count == 0:
        return Verdict(path, False, problem="no signature")
    judged = [_Signature(content, number, roots) for number in range(count)]
    problems = [
        f"signature {one.number + 1}: {problem}" if count > 1 else problem for one in judged for problem in one.problems
    ]
    last = judged[-1]
    covered = any(one.covers_document for one in judged)
    coverage = "the document" if covered else "a part"
    if not covered and not problems:
        problems.append("no signature covers the document")
    return Verdict(path, not problems, last.signer, coverage, "; ".join(problems), count, level=last.level)


def _tree(content: bytes) -> "Element":
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    root = etree.fromstring(content, parser)
    if root.getroottree().docinfo.doctype:
        raise ValueError("the document has a DOCTYPE")
    return root


def _signatures(content: bytes) -> "list[Element]":
    return list(_tree(content).iter(f"{DS}Signature"))


def _canonical(element: "Element", algorithm: str) -> bytes:
    """The canonical form of an element in its context."""
    from lxml import etree

    exclusive, comments = CANONICAL[algorithm]
    form = etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=comments, with_tail=False)
    return bytes(form)


class _Signature:
    """One signature of a document, and what is wrong with it. Each reference gets a tree of its own: transforms change it."""

    def __init__(self, content: bytes, number: int, roots: Sequence[bytes]) -> None:
        self.content, self.number = content, number
        self.problems: list[str] = []
        self.signer, self.level = "", "B"
        self.covers_document = False
        signature = _signatures(content)[number]
        try:
            self._judge(signature, roots)
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            self.problems.append(f"it cannot be read ({type(problem).__name__}: {problem})")

    def _judge(self, signature: "Element", roots: Sequence[bytes]) -> None:
        from asn1crypto import x509

        info = signature.find(f"{DS}SignedInfo")
        references = info.findall(f"{DS}Reference")
        for at, reference in enumerate(references):
            self._check_reference(reference, at)
        if not any(reference.get("Type") == SIGNED_PROPERTIES for reference in references):
            self.problems.append("no reference covers its properties")
        certificates = [
            x509.Certificate.load(b64decode(element.text))
            for element in signature.iterfind(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
        ]
        leaf = self._named_certificate(signature, certificates)
        self.signer = name_of(leaf)
        self._check_value(signature, info, leaf)
        if roots and not self.problems and not _leads_to(leaf, certificates, roots):
            self.problems.append("the certificate does not lead to the root")
        stamp = signature.find(f".//{XADES}UnsignedSignatureProperties/{XADES}SignatureTimeStamp")
        if stamp is not None:
            self.level = "T"
            self._check_time_stamp(signature, stamp, roots)

    # --- references ---------------------------------------------------------------------------------------------------

    def _check_reference(self, original: "Element", at: int) -> None:
        """Recomputes the digest of reference number `at`."""
        signature = _signatures(self.content)[self.number]
        reference = signature.findall(f"{DS}SignedInfo/{DS}Reference")[at]
        uri = reference.get("URI")
        target, keeps_comments = self._target(signature, reference, uri)
        form = ""
        for transform in reference.iterfind(f"{DS}Transforms/{DS}Transform"):
            algorithm = transform.get("Algorithm")
            if algorithm in CANONICAL:
                form = algorithm
            elif not _leave_out(target, signature, transform):
                self.problems.append(f"the transform {algorithm} of reference {uri!r} is not known")
                return
        form = form or "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
        name = DIGESTS[reference.find(f"{DS}DigestMethod").get("Algorithm")]
        exclusive, comments = CANONICAL[form]
        state = hashlib.new(name)
        _write(target, state.update, exclusive=exclusive, comments=comments and keeps_comments)
        if not hmac.compare_digest(state.digest(), b64decode(reference.findtext(f"{DS}DigestValue"))):
            self.problems.append(f"the digest of reference {uri!r} is not right")

    def _target(self, signature: "Element", reference: "Element", uri: str | None) -> tuple[Any, bool]:
        """The document or the element that the reference names, and whether its comments belong to it."""
        root = signature.getroottree().getroot()
        if uri in ("", "#xpointer(/)"):
            self.covers_document = True
            return root.getroottree(), uri != ""
        if uri is None or not uri.startswith("#"):
            raise ValueError(f"the reference {uri!r} is not about this document")
        named = [element for element in root.iter("*") if element.get("Id") == uri[1:]]
        if len(named) != 1:
            raise ValueError(f"{len(named)} elements have the id {uri[1:]!r}")
        if reference.get("Type") == SIGNED_PROPERTIES:
            own = signature.find(f"{DS}Object/{XADES}QualifyingProperties/{XADES}SignedProperties")
            if named[0] is not own:
                raise ValueError("its properties are those of another signature")
        return named[0], False

    # --- certificate and value ----------------------------------------------------------------------------------------

    def _named_certificate(self, signature: "Element", certificates: list[Any]) -> Any:
        """The certificate that SigningCertificateV2 names by its digest (EN 319 132-1 5.2.2)."""
        named = signature.find(
            f".//{XADES}SignedSignatureProperties/{XADES}SigningCertificateV2/{XADES}Cert/{XADES}CertDigest"
        )
        name = DIGESTS[named.find(f"{DS}DigestMethod").get("Algorithm")]
        digest = b64decode(named.findtext(f"{DS}DigestValue"))
        found = [one for one in certificates if hashlib.new(name, one.dump()).digest() == digest]
        if not found:
            raise ValueError("the certificate that its properties name is not there")
        return found[0]

    def _check_value(self, signature: "Element", info: "Element", leaf: Any) -> None:
        from cryptography.exceptions import InvalidSignature

        form = info.find(f"{DS}CanonicalizationMethod").get("Algorithm")
        method = info.find(f"{DS}SignatureMethod").get("Algorithm")
        value = b64decode(signature.findtext(f"{DS}SignatureValue"))
        try:
            _verify(leaf.dump(), method, value, _canonical(info, form))
        except InvalidSignature:
            self.problems.append("the signature value is not right")

    def _check_time_stamp(self, signature: "Element", stamp: "Element", roots: Sequence[bytes]) -> None:
        """A token about the canonical SignatureValue element (EN 319 132-1 5.3)."""
        from asn1crypto import cms
        from pyhanko.sign.validation.generic_cms import validate_tst_signed_data

        form = stamp.find(f"{DS}CanonicalizationMethod").get("Algorithm")
        stamped = _canonical(signature.find(f"{DS}SignatureValue"), form)
        token = cms.ContentInfo.load(b64decode(stamp.findtext(f"{XADES}EncapsulatedTimeStamp")))
        checking = validate_tst_signed_data(
            token["content"], trust_in(roots), lambda name: hashlib.new(name, stamped).digest()
        )
        status = asyncio.run(checking)
        if not (status["intact"] and status["valid"]):
            self.problems.append("the time stamp is broken")
        elif roots and status.get("trust_problem_indic") is not None:
            self.problems.append("the time stamp's certificate does not lead to the root")


def _leave_out(target: Any, signature: "Element", transform: "Element") -> bool:
    """Applies a transform that leaves signatures out. False for one that is not known."""
    algorithm = transform.get("Algorithm")
    root = signature.getroottree().getroot()
    if algorithm == ENVELOPED:
        _remove(signature)
        return True
    expression = transform.find(f"{DS}XPath") if algorithm == XPATH else transform.find(f"{FILTER2}XPath")
    if expression is None or algorithm not in (XPATH, XPATH2_FILTER):
        return False
    text, names = "".join((expression.text or "").split()), expression.nsmap
    prefixes = [prefix for prefix, uri in names.items() if uri == DS[1:-1]]
    if algorithm == XPATH:
        known = any(text == f"not(ancestor-or-self::{prefix}:Signature)" for prefix in prefixes)
    else:
        known = expression.get("Filter") == "subtract" and any(
            text in (f"/descendant::{prefix}:Signature", f"//{prefix}:Signature") for prefix in prefixes
        )
    if known:
        for one in list(root.iter(f"{DS}Signature")):
            _remove(one)
    return known


def _remove(element: "Element") -> None:
    """Takes the element out of its tree; the text behind it stays."""
    parent, before = element.getparent(), element.getprevious()
    if parent is None:
        raise ValueError("the whole document is a signature")
    if before is not None:
        before.tail = (before.tail or "") + (element.tail or "")
    else:
        parent.text = (parent.text or "") + (element.tail or "")
    parent.remove(element)


def _write(target: Any, update: Callable[[bytes], None], *, exclusive: bool, comments: bool) -> None:
    from lxml import etree

    if isinstance(target, etree._Element):
        update(etree.tostring(target, method="c14n", exclusive=exclusive, with_comments=comments, with_tail=False))
    else:
        update(etree.tostring(target, method="c14n", exclusive=exclusive, with_comments=comments))


def _verify(certificate: bytes, method: str, value: bytes, data: bytes) -> None:
    """Raises InvalidSignature, or ValueError for an algorithm that is not known or does not fit the key (RFC 6931)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    known = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    key, name = x509.load_der_x509_certificate(certificate).public_key(), method.partition("#")[2]
    for text, digest in known.items():
        if isinstance(key, rsa.RSAPublicKey) and name == f"rsa-{text}":
            return key.verify(value, data, padding.PKCS1v15(), digest)
        if isinstance(key, rsa.RSAPublicKey) and name == f"{text}-rsa-MGF1":
            return key.verify(value, data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        if isinstance(key, ec.EllipticCurvePublicKey) and name == f"ecdsa-{text}":
            half = -(-key.curve.key_size // 8)
            if len(value) != 2 * half:
                raise ValueError(f"an ECDSA value of {len(value)} bytes")
            encoded = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
            return key.verify(encoded, data, ec.ECDSA(digest))
    raise ValueError(f"the algorithm {method} is not known, or not of this key")


def _leads_to(leaf: Any, certificates: Sequence[Any], roots: Sequence[bytes]) -> bool:
    from pyhanko_certvalidator import CertificateValidator
    from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError

    validator = CertificateValidator(leaf, [one for one in certificates if one is not leaf], trust_in(roots))
    try:
        asyncio.run(validator.async_validate_path())
    except (PathBuildingError, PathValidationError):
        return False
    return True
