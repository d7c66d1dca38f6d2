"""Generated XML documents: what the structure says and what lxml makes of the same bytes fit together, whatever is in them."""

import hashlib
import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from tests.support.signing_keys import signer
from tests.support.xml_documents import MOMENT, signed, wanted

from batchseal.document import Refusal
from batchseal.errors import DocumentUnsuitable
from batchseal.formats.xades.canonical import CanonicalDocument, Wish, canonicalise
from batchseal.formats.xades.location import ROOT, parse
from batchseal.formats.xades.xades import Xades

NAMES = st.sampled_from(["a", "b", "é", "a-b", "Signature", "p:c", "p:a", "q:c"])
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="<&\0", exclude_categories=["Cc", "Cs"]), max_size=12
).filter(lambda text: "]]>" not in text and "\ufffe" not in text and "\uffff" not in text)
PIECES = st.sampled_from(
    [
        "\r\n",
        "\t",
        "&#13;",
        "&#9;",
        "&amp;",
        "&lt;",
        "<![CDATA[<&]] >]]>",
        "<!-- c -->",
        "<?pi data?>",
        "<?x?>",
        "/>",
        "]]",
        ">",
    ]
)
VALUES = st.lists(
    st.one_of(TEXT.map(lambda t: t.replace('"', "'")), st.sampled_from(["&#10;", "&#x41;", "\r\n\t", "'", ">"]))
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["x", "y", "p:x", "q:x", "xml:lang", "é"]), VALUES.map("".join), max_size=3
)
DECLARATIONS = st.dictionaries(st.sampled_from(["xmlns:p", "xmlns:q"]), st.sampled_from(["urn:1", "urn:2"]), max_size=2)


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    name = draw(NAMES)
    attributes = draw(ATTRIBUTES) | draw(DECLARATIONS)
    if depth == 0:  # so that no prefix lacks its namespace
        attributes = {"xmlns:p": "urn:p", "xmlns:q": "urn:q"} | attributes
    written = "".join(
        f' {key} = "{value}"' if len(value) % 2 else f' {key}="{value}"' for key, value in attributes.items()
    )
    content = ""
    if depth < 4:
        content = "".join(draw(st.lists(st.one_of(TEXT, PIECES, elements(depth + 1)), max_size=4)))
    return f"<{name}{written}>{content}</{name} >" if content or draw(st.booleans()) else f"<{name}{written}/>"


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    around = st.lists(st.sampled_from(["<!-- outside -->", "<?outside?>", "\n", "\r\n"]), max_size=3).map("".join)
    head = draw(
        st.sampled_from(["", '<?xml version="1.0"?>', "<?xml version='1.0' encoding='UTF-8' standalone='yes'?>\n"])
    )
    return (head + draw(around) + draw(elements()) + draw(around)).encode()


def canonical(tree: Any, *, comments: bool) -> bytes:
    sink = io.BytesIO()
    tree.write_c14n(sink, exclusive=True, with_comments=comments)
    return sink.getvalue()


def tree_of(content: bytes) -> Any:
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True)).getroottree()


@given(documents(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_digest_is_that_of_lxmls_canonical_form(content: bytes, comments: bool) -> None:
    (found,) = canonicalise([(content, Wish(ROOT, "sha256", False, comments))])
    try:
        tree = tree_of(content)
    except etree.XMLSyntaxError:
        assert isinstance(found, DocumentUnsuitable)
        return
    if isinstance(found, DocumentUnsuitable):
        assert "twice" in found.cause or "duplicate attribute" in found.cause
        return
    assert found.digest == hashlib.sha256(canonical(tree, comments=comments)).digest()


@given(documents())
@settings(max_examples=150, deadline=None)
def test_one_insertion_and_the_same_document_without_it(content: bytes) -> None:
    (found,) = canonicalise([(content, Wish(ROOT, "sha256", False, False))])
    if not isinstance(found, CanonicalDocument):
        return
    result = signed(content, wanted(), signer("rsa"))
    where = found.insertion
    assert result[: where.offset] == content[: where.offset]
    assert result.endswith(content[where.offset + where.removed_bytes :])
    tree = tree_of(result)
    own = tree.getroot()[-1]
    assert own.tag == "{http://www.w3.org/2000/09/xmldsig#}Signature"
    before = own.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + (own.tail or "")
    else:
        tree.getroot().text = (tree.getroot().text or "") + (own.tail or "")
    tree.getroot().remove(own)
    assert canonical(tree, comments=True) == canonical(tree_of(content), comments=True)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"<a>", b'<?xml version="1.0" encoding="', b"\xff\xfe", b"<!DOCTYPE"]),
)
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_signed_or_refused(content: bytes, start: bytes) -> None:
    (result,) = Xades().prepare([(0, wanted(), start + content)], signer("rsa").credential, MOMENT)
    if isinstance(result, Refusal):
        assert result.cause


@given(st.text(max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_location_is_understood_or_refused(text: str) -> None:
    refused = Xades().offers(wanted(at=text))
    if refused is not None:
        assert "signatureLocation" in refused.cause
    else:
        assert bool(parse(text).steps) is bool(text.strip())
