"""Small XML documents, signatures in them without a service, and what lxml says of both."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lxml import etree
from tests.support.signing_keys import Signer

from batchseal.document import Description, Evidence, Prepared, Refusal, SignedDocument, Stretch
from batchseal.formats.xades.xades import Xades
from batchseal.operation import ContentType
from batchseal.signature import Level, SignatureOptions, SignatureType

DS = "{http://www.w3.org/2000/09/xmldsig#}"
TRANSFORMS = ("ENVELOPED", "XPATH", "XPATH2_FILTER")
CANONICAL = ("EXCLUSIVE", "EXCLUSIVE_WITH_COMMENTS")
# When documents are signed. Certificates of the tests are valid from the day before they are made.
MOMENT = datetime.now(UTC).replace(microsecond=0)
UBL = "urn:oasis:names:specification:ubl:schema:xsd:"

# What canonicalization changes: line ends, white space in attributes, references, CDATA, the order of attributes and
# declarations, empty elements; and what it leaves alone: a comment, processing instructions.
INVOICE = f"""<?xml version="1.0" encoding="UTF-8"?>\r
<!-- before --><?before data?>\r
<Invoice xmlns="{UBL}Invoice-2" xmlns:cbc="{UBL}CommonBasicComponents-2"\r
  xmlns:ext="{UBL}CommonExtensionComponents-2" xmlns:unused="urn:unused">\r
  <ext:UBLExtensions><ext:UBLExtension><ext:ExtensionContent/></ext:UBLExtension></ext:UBLExtensions>\r
  <cbc:ID z="1" a="x\ty&#13;&#9;z" xmlns:b="urn:b" b:c="&lt;&quot;>'"  >FT 2026/5 &amp; &gt; ]]&gt; \xe7\xe3\xe9</cbc:ID >\r
  <!-- within <not> a tag --><cbc:Note xml:lang='pt'><![CDATA[<x>&]]>&#13;\ttext</cbc:Note><cbc:Empty/><?inside?>\r
  <cbc:Amount currencyID="EUR" xmlns="">1.00</cbc:Amount>\r
</Invoice>\r
<?after?><!-- after -->\r
"""
ENCODINGS = {
    "UTF-8": "utf-8",
    "UTF-8 with a mark": "utf-8-sig",
    "UTF-16": "utf-16",
    "ISO-8859-1": "iso8859-1",
    "ISO-8859-15": "iso8859-15",
    "windows-1252": "cp1252",
}


def encoded(text: str, encoding: str) -> bytes:
    """`text`, which declares UTF-8, in one of ENCODINGS and with its declaration."""
    declared = encoding.removesuffix(" with a mark")
    return text.replace('encoding="UTF-8"', f'encoding="{declared}"', 1).encode(ENCODINGS[encoding])


def wanted(
    *, transform: str = "", canonical: str = "", at: str = "", level: Level = Level.B, **more: object
) -> Description:
    """What a caller says of an XML document. `at` is its signatureLocation; `more` are further SignatureOptions."""
    options = SignatureOptions(location=at, transform=transform, canonical=canonical)
    return Description(
        "ref",
        "invoice.xml",
        ContentType.TEXT_XML,
        None,
        "Oeiras",
        signature_type=SignatureType.XADES,
        level=level,
        options=replace(options, **more),  # type: ignore[arg-type]
    )


def prepared(content: bytes, what: Description, signer: Signer, moment: datetime = MOMENT) -> Prepared:
    """Fails with the cause where the document is refused."""
    (result,) = Xades().prepare([(0, what, content)], signer.credential, moment)
    assert isinstance(result, Prepared), result
    return result


def refusal(content: bytes, what: Description, signer: Signer) -> Refusal:
    """Fails where the document is not refused."""
    if (offered := Xades().offers(what)) is not None:
        return offered
    (result,) = Xades().prepare([(0, what, content)], signer.credential, MOMENT)
    assert isinstance(result, Refusal), result
    return result


def joined(document: SignedDocument) -> bytes:
    """The whole signed file, of an original that was given in memory."""
    return b"".join(bytes(part) for part in document.segments if not isinstance(part, Stretch))


def signed(content: bytes, what: Description, signer: Signer, moment: datetime = MOMENT) -> bytes:
    """The document with its signature of level B."""
    one = prepared(content, what, signer, moment)
    evidence = Evidence(signer.sign(one.digest))
    document = Xades().package(content, one, evidence, signer.credential)
    whole = joined(document)
    assert len(whole) == document.total_bytes == len(content) + Xades().added_bytes(one, evidence)
    return whole


def canonical(tree: Any, *, comments: bool = False) -> bytes:
    """The exclusive canonical form of a whole document."""
    sink = io.BytesIO()
    tree.write_c14n(sink, exclusive=True, with_comments=comments)
    return sink.getvalue()


def parsed(content: bytes) -> Any:
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True)).getroottree()


def without_last_signature(content: bytes) -> Any:
    """The tree without the signature that was added last in the document's order."""
    tree = parsed(content)
    signature = list(tree.iter(f"{DS}Signature"))[-1]
    parent, before = signature.getparent(), signature.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + (signature.tail or "")
    else:
        parent.text = (parent.text or "") + (signature.tail or "")
    parent.remove(signature)
    return tree


def one_insertion(original: bytes, result: bytes) -> bytes:
    """What was put into the original at one place. One character may have gone there, the slash of `<a/>`."""
    start = next(at for at in range(len(original) + 1) if original[at : at + 1] != result[at : at + 1])
    behind = len(original) - start
    while not result.endswith(original[len(original) - behind :]):
        behind -= 1
    assert original[start : len(original) - behind].replace(b"\0", b"") in (b"", b"/")
    return result[start : len(result) - behind]
