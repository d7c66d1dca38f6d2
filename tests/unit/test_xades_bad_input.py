"""XML that is not signed, and what is said of it. Each refusal is quick, and holds little memory."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.support.signing_keys import signer
from tests.support.xml_documents import INVOICE, MOMENT, encoded, prepared, refusal, signed, wanted

from batchseal._native.canonicaliser import CanonicalLimits
from batchseal.document import Description, Prepared, Refusal
from batchseal.formats.registry import Formats
from batchseal.formats.xades import canonical
from batchseal.formats.xades.xades import Xades
from batchseal.operation import ContentType, SignError

DECLARED = '<?xml version="1.0" encoding="{}"?>'
LONG_DECLARATION = "<?xml version='1.0'" + " " * 600 + "encoding='{}'?><a>\u00e9</a>"
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def said(content: bytes | str, what: Description | None = None) -> str:
    """The cause of the refusal of a document whose content is at fault."""
    data = content.encode() if isinstance(content, str) else content
    refused = refusal(data, what or wanted(), signer("rsa"))
    assert refused.sign_error is SignError.NOT_SIGNABLE
    assert "invoice.xml" not in refused.cause  # whoever shows the cause names the document
    return refused.cause


@pytest.mark.parametrize(
    "content",
    [
        "<!DOCTYPE a><a/>",
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/never.dtd"><a/>',
        '<!DOCTYPE a [<!ENTITY e "text">]><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]><a/>',
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>',
        '<!DOCTYPE a [<!ATTLIST a b CDATA "default">]><a/>',
    ],
)
def test_a_doctype_is_refused_before_anything_in_it_is_read(content: str) -> None:
    assert "DOCTYPE" in said(content)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "no element found"),
        (b"plain text", "not well-formed XML"),
        (b"<a><b></a></b>", "mismatched tag"),
        (b"<a>&unknown;</a>", "undefined entity"),
        (b"<a/><b/>", "junk after document element"),
        (b"<a>\x00</a>", "not well-formed XML"),
        (b"<a>\x01</a>", "not well-formed XML"),
        (b"<a>&#1;</a>", "not well-formed XML"),
        (b"<a>\xef\xbf\xbf</a>", "not well-formed XML"),
        (b'<a b="1" b="2"/>', "duplicate attribute"),
        (b'<a xmlns:x="urn:x" xmlns:y="urn:x" x:b="1" y:b="2"/>', "duplicate attribute"),
        (b"<p:a/>", "unbound prefix"),
        (b'<a p:b="1"/>', "unbound prefix"),
        (b'<a xmlns:p=""/>', "prefix"),
        (b'<a xmlns="relative/uri"/>', "not an absolute URI"),
        (b'<a xmlns:p="also relative"/>', "not an absolute URI"),
        (b'<a xmlns="urn:a b"/>', "not an absolute URI"),
        (b'<a xmlns="urn:a&#10;b"/>', "not an absolute URI"),
        (b'<?xml version="1.1"?><a/>', "only XML 1.0"),
        (b'<a Id="1"><b Id="1"/></a>', "the id '1' occurs twice"),
        (b'<a Id="1"><b xml:id="1"/></a>', "the id '1' occurs twice"),
        (b"%PDF-1.7\n", "the content is PDF, not XML"),
    ],
)
def test_what_is_no_sound_xml_is_refused(content: bytes, cause: str) -> None:
    assert cause in said(content)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("<a>\u00e9</a>".encode("utf-16-le"), "neither UTF-8 nor UTF-16 with a byte order mark"),
        ("<a>\u00e9</a>".encode("utf-16-be"), "neither UTF-8 nor UTF-16 with a byte order mark"),
        ((DECLARED.format("UTF-16") + "<a/>").encode(), "has no byte order mark"),
        ((DECLARED.format("UTF-8") + "<a/>").encode("utf-16"), "its byte order mark says UTF-16"),
        ((DECLARED.format("ISO-8859-1") + "<a/>").encode("utf-8-sig"), "its byte order mark says UTF-8"),
        ((DECLARED.format("UTF-8") + "<a>\u00e9</a>").encode("latin-1"), "not well-formed XML"),
        ((DECLARED.format("US-ASCII") + "<a>\u00e9</a>").encode(), "not US-ASCII"),
        ((DECLARED.format("windows-1252") + "<a>").encode() + b"\x81</a>", "not windows-1252"),
        ((DECLARED.format("Shift_JIS") + "<a/>").encode(), "'Shift_JIS' is not one of UTF-8"),
        (LONG_DECLARATION.format("ISO-8859-1").encode("latin-1"), "the XML declaration is longer than 512"),
        (LONG_DECLARATION.format("Shift_JIS").encode(), "the XML declaration is longer than 512"),
        ("\ufeff<a>\u00e9</a>".encode("utf-16"), "the byte order mark stands twice"),
        (b"\xfe\xff\xfe\xff" + "<a/>".encode("utf-16-be"), "the byte order mark stands twice"),
        (("\ufeff" + DECLARED.format("ISO-8859-1") + "<a/>").encode("utf-16"), "the byte order mark stands twice"),
        (LONG_DECLARATION.format("UTF-16").encode("utf-16"), "the XML declaration is longer than 512"),
        ("<a>\u00e9</a>".encode("utf-32"), "the content is UTF-32"),
        ("<a>".encode("utf-16") + b"\x00\xd8", "not utf-16"),
        ("<a>".encode("utf-16") + b"<", "not utf-16"),
    ],
)
def test_an_encoding_that_is_not_what_the_document_says(content: bytes, cause: str) -> None:
    assert cause in said(content)


def test_a_document_that_is_cut_anywhere() -> None:
    content = INVOICE.encode()
    end = content.index(b"</Invoice>") + len(b"</Invoice>")
    for at in range(0, end, 7):
        assert said(content[:at])


def test_limits_of_size_and_structure() -> None:
    """Each costs less than a second, and no more memory than a few times what came in."""
    deep = b"<a>" * 100_000 + b"</a>" * 100_000
    very_wide = b"<a " + b" ".join(b'a%d="1"' % n for n in range(1_000_000)) + b"/>"
    wide = b"<a " + b" ".join(b'a%d="1"' % n for n in range(100_000)) + b"/>"
    declarations = b"<a " + b" ".join(b'xmlns:a%d="urn:%d"' % (n, n) for n in range(20_000)) + b"/>"
    many = b"<a>" + b"<b/>" * 600_000 + b"</a>"
    for content, cause in (
        (deep, "nested more than 256 deep"),
        (wide, "more than 1000 attributes"),
        (very_wide, "more than 1000 attributes"),
        (b"<a><!--" + b"x" * (3 << 20) + b"--></a>", "longer than 1 MB"),
        (declarations, "more than 1000 namespaces"),
        (many, "more than 500000 elements and attributes"),
    ):
        tracemalloc.start()
        began = time.process_time()
        assert cause in said(content)
        seconds = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < 20  # tracing makes it several times slower
        assert peak < 3 * len(content) + (24 << 20)


def test_a_text_of_100_mb() -> None:
    content = b"<a>" + bytes([ord("x")]) * (100 << 20) + b"</a>"
    began = time.process_time()
    assert f"more than {canonical.MAX_BYTES >> 20} MB" in said(content)
    assert time.process_time() - began < 1


def test_a_long_text_below_the_limit_is_signed() -> None:
    """A document with a large attachment: more than the 10 MB of one text that libxml2 takes by itself."""
    content = b"<a>" + b"x" * (12 << 20) + b"</a>"
    assert prepared(content, wanted(), signer("rsa")).document_digest


def test_depth_up_to_the_limit_is_signed() -> None:
    content = b"<a>" * CanonicalLimits().depth + b"</a>" * CanonicalLimits().depth
    assert signed(content, wanted(), signer("rsa"))


# --- where the signature goes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "cause"),
    [
        ("cbc:Missing", "no element matches it; the root is 'Invoice'"),
        ("other:Note", "no element matches it"),
        ("/Note", "no element matches it"),
        ("/Invoice/ext:UBLExtensions[2]", "no element matches it"),
        ("ID/", "a path begins with a slash"),
        ("/ID/", "is neither a name nor a path"),
        ("Invoice/cbc:ID", "a path begins with a slash"),
        ("///Invoice", "more than two slashes"),
        ("/Invoice/cbc:ID[@z='1']", "is not understood"),
        ("/Invoice//cbc:ID", "is neither a name nor a path"),
        ("/Invoice/..", "is neither a name nor a path"),
        ("count(//x)", "is not understood"),
        ("x" * 2000, "longer than 1000 characters"),
    ],
)
def test_a_location_that_names_no_element(at: str, cause: str) -> None:
    refused = refusal(INVOICE.encode(), wanted(at=at), signer("rsa"))
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert cause in refused.cause
    assert "signatureLocation" in refused.cause


def test_a_location_that_names_several_elements() -> None:
    content = b'<r xmlns:p="urn:p"><p:a/><b><a/></b><a/></r>'
    refused = refusal(content, wanted(at="a"), signer("rsa"))
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert "3 elements match it, one is needed: /r/p:a, /r/b/a, /r/a" in refused.cause


def test_a_location_inside_a_signature() -> None:
    once = signed(INVOICE.encode(), wanted(transform="XPATH"), signer("rsa"))
    refused = refusal(once, wanted(transform="XPATH", at="ds:Object"), signer("rsa"))
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert "inside an existing signature" in refused.cause


@pytest.mark.parametrize(
    ("at", "before"),
    [
        ("", b"</r>"),
        ("c", b"</c>"),
        ("/r", b"</r>"),
        ("/*", b"</r>"),
        ("q:b", b"</p:b>"),  # the prefix means what it means at the element
        ("//c", b"</c>"),
        ("/r/p:b/c", b"</c>"),
        ("//b/c", b"</c>"),
        ("/r/*[2]/c", b"</c>"),
        ("/r/a[2]", b'</a><z x="/>"></z>'),
        ("/*[local-name()='r']/*[local-name() = \"b\"]", b"</p:b>"),
        ("//z", b"</z>"),
        ("e", b"</e>"),
    ],
)
def test_a_location_that_names_one_element(at: str, before: bytes) -> None:
    content = b'<r xmlns:p="urn:p"><a/><p:b xmlns:q="urn:p"><c>/></c></p:b><a></a><z x="/>"></z><e y = "\'/>" /></r><!-- r -->'
    result = signed(content, wanted(at=at), signer("rsa"))
    assert b"</ds:Signature>" + before in result


# --- what was asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        (wanted(transform="BASE64"), "signatureTransform 'BASE64' is not one of ENVELOPED, XPATH, XPATH2_FILTER"),
        (wanted(canonical="INCLUSIVE"), "canonicalTransform 'INCLUSIVE' is not one of"),
        (replace(wanted(), visible=True), "cannot be visible"),
        (replace(wanted(), location="a\0b"), "location has a character that XML cannot hold"),
        (replace(wanted(), location="\ud800"), "location has a character that XML cannot hold"),
    ],
)
def test_a_signature_that_is_not_offered(what: Description, cause: str) -> None:
    refused = refusal(INVOICE.encode(), what, signer("rsa"))
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert cause in refused.cause


def test_a_type_that_does_not_fit_the_content() -> None:
    formats = Formats(has_time_stamps=False)
    pdf_as_xades = replace(wanted(), content_type=ContentType.PDF)
    refused = formats.refusal(pdf_as_xades)
    assert refused is not None
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert "XAdES signs text/xml, application/xml, not application/pdf" in refused.cause
    assert "the content is PDF" in said(b"%PDF-1.7\n%binary")
    assert "not well-formed" in said(b"\xff\xd8\xff\xe0 a picture")


def test_a_bad_document_does_not_touch_its_neighbours() -> None:
    from tests.support.xml_documents import MOMENT

    from batchseal.document import Prepared, Refusal
    from batchseal.formats.xades.xades import Xades

    contents = [INVOICE.encode(), b"<a>", encoded(INVOICE, "UTF-16"), b"<!DOCTYPE a><a/>"]
    results = Xades().prepare(
        [(number, wanted(), content) for number, content in enumerate(contents)], signer("rsa").credential, MOMENT
    )
    assert [type(result) for result in results] == [Prepared, Refusal, Prepared, Refusal]


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_signed_document_with_many_nodes_takes_its_memory_from_the_budget() -> None:
    """It is read into a tree. One that needs more than the service has is refused, for a reason that is not its own."""
    asked: list[int] = []

    @contextmanager
    def memory(wanted_bytes: int) -> Iterator[int]:
        asked.append(wanted_bytes)
        yield min(wanted_bytes, 20 << 20)

    def prepare(content: bytes) -> Prepared | Refusal:
        (result,) = Xades().prepare([(0, wanted(), content)], signer("rsa").credential, MOMENT, memory=memory)
        return result

    assert isinstance(prepare(INVOICE.encode()), Prepared)
    assert asked == []
    assert isinstance(prepare(b"<a>" + b"<b/>" * 200_000 + b"</a>"), Prepared)
    assert asked == []
    signature = b'<s:Signature xmlns:s="http://www.w3.org/2000/09/xmldsig#"/>'
    prepare(b"<a>" + b"<b/>" * 20_000 + signature + b"</a>")
    assert len(asked) == 1
    assert 6_000_000 < asked[0] < 8_000_000
    refused = prepare(b"<a>" + b"<b/>" * 200_000 + signature + b"</a>")
    assert isinstance(refused, Refusal)
    assert refused.sign_error is SignError.SIGN_OPERATION_INTERNAL_ERROR
    assert "MB of memory, more than this service has" in refused.cause
