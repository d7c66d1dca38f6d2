"""Follows the references of an XML signature (XMLDSig 4.4.3): what each is about, and whether its digest is right.

What this does not know (a transform, an algorithm, a reference to another file) makes a signature not valid, and is named.
"""

import hashlib
import hmac
from base64 import b64decode
from typing import TYPE_CHECKING, Any

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
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
# Whether it is exclusive, and whether it keeps comments.
CANONICAL = {
    "http://www.w3.org/2001/10/xml-exc-c14n#": (True, False),
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments": (True, True),
    INCLUSIVE: (False, False),
    f"{INCLUSIVE}#WithComments": (False, True),
}
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XPATH2_FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"


def tree(content: bytes) -> "Element":
    """The root of a document. Raises ValueError for one with a DOCTYPE."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    root = etree.fromstring(content, parser)
    if root.getroottree().docinfo.doctype:
        raise ValueError("the document has a DOCTYPE")
    return root


def signatures(content: bytes) -> "list[Element]":
    """The signatures of a document, in its order."""
    return list(tree(content).iter(f"{DS}Signature"))


def canonical(element: "Element", algorithm: str) -> bytes:
    """The canonical form of an element in its context. Raises ValueError for a form that is not known."""
    return _written(element, algorithm, with_comments=True)


class References:
    """The references of signature number `number` of a document.

    Each is followed in a tree of its own, since transforms change it. Methods raise LookupError, TypeError, ValueError or
    AttributeError for a reference that cannot be followed.
    """

    def __init__(self, content: bytes, number: int) -> None:
        self._content, self._number = content, number
        self.count = len(self._found(signatures(content)[number]))
        self.covers_document = False

    def problem(self, at: int) -> str:
        """What is wrong with the digest of a reference; nothing if it is right."""
        signature = signatures(self._content)[self._number]
        reference = self._found(signature)[at]
        name = DIGESTS[reference.find(f"{DS}DigestMethod").get("Algorithm")]
        expected = b64decode(reference.findtext(f"{DS}DigestValue"))
        try:
            octets = self._octets(signature, at, INCLUSIVE)
        except NotImplementedError as unknown:
            return f"the transform {unknown} of reference {reference.get('URI')!r} is not known"
        if not hmac.compare_digest(hashlib.new(name, octets).digest(), expected):
            return f"the digest of reference {reference.get('URI')!r} is not right"
        return ""

    def octets(self, form: str) -> bytes:
        """What all references are about, one after the other. `form` is the canonical form of those that name none."""
        return b"".join(self._octets(signatures(self._content)[self._number], at, form) for at in range(self.count))

    @staticmethod
    def _found(signature: "Element") -> "list[Element]":
        return list(signature.iterfind(f"{DS}SignedInfo/{DS}Reference"))

    def _octets(self, signature: "Element", at: int, form: str) -> bytes:
        """What a reference is about. Changes the tree. Raises NotImplementedError with a transform that is not known."""
        reference = self._found(signature)[at]
        target, keeps_comments = self._target(signature, reference, reference.get("URI"))
        for transform in list(reference.iterfind(f"{DS}Transforms/{DS}Transform")):
            algorithm = transform.get("Algorithm")
            if algorithm in CANONICAL:
                form = algorithm
            elif not _leave_out(signature, transform):
                raise NotImplementedError(algorithm)
        return _written(target, form, with_comments=keeps_comments)

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


def _written(target: Any, algorithm: str, *, with_comments: bool) -> bytes:
    """The canonical form of a document or an element."""
    from lxml import etree

    if algorithm not in CANONICAL:
        raise ValueError(f"the canonical form {algorithm} is not known")
    exclusive, comments = CANONICAL[algorithm]
    # A document has no tail, and lxml refuses the word for one.
    more = {"with_tail": False} if isinstance(target, etree._Element) else {}
    form = etree.tostring(target, method="c14n", exclusive=exclusive, with_comments=comments and with_comments, **more)
    return bytes(form)


def _leave_out(signature: "Element", transform: "Element") -> bool:
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
