"""The canonicaliser on what it refuses: which code, where, and that nothing is refused too late to be cheap."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.canonical import forms, is_well_formed

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import (
    CanonicalForm,
    CanonicalLimits,
    CanonicalRefusal,
    CanonicalTask,
    canonical_form,
    digest_many,
    refusal_codes,
)

KERNELS = [name for name, _, supported, _ in canonicaliser.kernels() if supported]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    yield canonicaliser.use_kernels(request.param)
    canonicaliser.use_kernels()


def refusal(text: str | bytes, limits: CanonicalLimits | None = None, **options: Any) -> CanonicalRefusal:
    data = text.encode() if isinstance(text, str) else text
    found = canonical_form(CanonicalTask(data, **options), limits)
    assert isinstance(found, CanonicalRefusal), found
    (again,) = digest_many([CanonicalTask(data, **options)], limits)
    assert again == found
    return found


BROKEN = [
    "", " ", "\ufeff", "a", "<", "<a", "<a>", "<a", "<a ", "<a b", "<a b=", "<a b='", "<a b=''", "<a/", "<a></",
    "<a></a", "<a>x",
    "<a></b>", "<a></ab>", "<ab></a>", "<a><b></a></b>", "</a>", "<a></a >x", "<a/><a/>", "<a/>x", "x<a/>",
    "<a/>&#32;", "&amp;<a/>",
    "<a/><![CDATA[]]>", "<![CDATA[]]><a/>", "<a/></a>",
    "<a b='1'c='2'/>", "<a b=1/>", "<a b/>", "<a b='1' b='2'/>", "<a b='<'/>", "<a b='&'/>", "<a / >", "<a/ >",
    "< a/>", "<a b = '' =''/>",
    "<1/>", "<-a/>", "<.a/>", "<a b!='1'/>", "<a:/>", "<:a/>", "<a:b:c xmlns:a='urn:a'/>", "<a :b=''/>", "<a b:=''/>",
    "<a a:1=''/>",
    "<a>&x;</a>", "<a>&amp</a>", "<a>&</a>", "<a>& amp;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#0;</a>",
    "<a>&#8;</a>", "<a>&#xD800;</a>",
    "<a>&#xFFFE;</a>", "<a>&#x110000;</a>", "<a>&#99999999999999999999;</a>", "<a>&#x1G;</a>", "<a>&#1a;</a>",
    "<a>&#x</a>", "<a>&#X41;</a>",
    "<a>]]></a>", "<a>x]]>y</a>", "<a>]]]></a>", "<a><![CDATA[]]</a>", "<a><![CDATA[", "<a><![CDAT[]]></a>",
    "<a><!-></a>", "<a><!a></a>",
    "<a><!----></a", "<a><!-- -- --></a>", "<a><!-- ---></a>", "<a><!--", "<!--", "<!-- -", "<a><!---</a>",
    "<a><?xml version='1.0'?></a>", "<a><?XmL?></a>", " <?xml version='1.0'?><a/>", "<a/><?xml version='1.0'?>",
    "<a><?p", "<a><?p?</a>",
    "<a><?1?></a>", "<a><??></a>", "<a><? p?></a>", "<a><?p??></a>", "<a><?p:q x?></a>", "<?p\0?><a/>",
    "<?xml?><a/>", "<?xml ?><a/>", "<?xml version='1.0'><a/>", "<?xml version=1.0?><a/>",
    "<?xml encoding='UTF-8'?><a/>",
    "<?xml version='1.0' standalone='maybe'?><a/>", "<?xml version='1.0' standalone='no' encoding='UTF-8'?><a/>",
    "<?xml version='1.0'encoding='UTF-8'?><a/>", "<?xml version='1.0' encoding='8'?><a/>",
    "<?xml version='1.0' x='1'?><a/>",
    "<a>\0</a>", "<a>\x01</a>", "<a>\x0b</a>", "<a>\x1f</a>", "<a b='\x02'/>", "<a b='\0'/>", "<a><!--\x0c--></a>",
    "<a><?p \x08?></a>",
    "<a><![CDATA[\x07]]></a>", "<a>\ufffe</a>", "<a b='\uffff'/>", "<a\0/>",
    "<p:a/>", "<a p:b=''/>", "<a xmlns:p='urn:p'><p:b/></a><p:c/>", "<a><b xmlns:p='urn:p'/><p:c/></a>", "<xmlns:a/>",
    "<a xmlns:p=''/>", "<a xmlns:xmlns='urn:x'/>", "<a xmlns:xml='urn:x'/>",
    "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
    "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
    "<a xmlns='urn:a' xmlns='urn:a'/>", "<a xmlns:p='urn:a' xmlns:p='urn:b'/>",
    "<a xmlns:p='urn:a' xmlns:q='urn:a' p:b='' q:b=''/>", "<a xmlns:p='urn:a' xmlns:q='urn:&#97;' p:b='' q:b=''/>",
]  # fmt: skip
# Bytes that are not UTF-8: too short, too long a form, surrogates, beyond the last character.
NOT_UTF8 = [
    b"\x80", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xfe",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_broken(text: str) -> None:
    assert not is_well_formed(text.encode())
    found = refusal(text)
    assert found.code == "not_well_formed", found
    assert 0 <= found.offset <= len(text.encode())


@pytest.mark.parametrize("wrong", NOT_UTF8)
@pytest.mark.parametrize(
    "place", ["<a>%</a>", "<a b='%'/>", "<a><!--%--></a>", "<a><?p %?></a>", "<a><![CDATA[%]]></a>", "<a%/>"]
)
def test_not_utf8(wrong: bytes, place: str) -> None:
    before, behind = place.split("%")
    assert refusal(before.encode() + wrong + behind.encode()).code == "not_well_formed"


def test_every_cut_is_noticed() -> None:
    text = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><!--c--><?p q?><a:a xmlns:a="urn:&#97;" b=\'1\' a:c="é&lt;">'
        "é&amp;&#x41;<![CDATA[x]]><b/><!--d--><?r?></a:a >"
    )
    data = text.encode()
    assert isinstance(canonical_form(CanonicalTask(data)), bytes)
    assert {refusal(data[:end]).code for end in range(len(data))} == {"not_well_formed"}


OTHERS = {
    "<!DOCTYPE a><a/>": ("doctype", 0),
    "<?xml version='1.0'?>\n<!-- c -->\n<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>": ("doctype", 33),
    "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>": ("doctype", 0),
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'http://x.example/'>]><a>&b;</a>": ("doctype", 0),
    "<!DOCTYPE l [<!ENTITY l 'l'><!ENTITY m '&l;&l;'><!ENTITY n '&m;&m;'>]><l>&n;</l>": ("doctype", 0),
    "<?xml version='1.1'?><a/>": ("version", 15),
    "<?xml version='1.0' encoding='ISO-8859-1'?><a/>": ("encoding", 30),
    "<?xml version='1.0' encoding='utf8'?><a/>": ("encoding", 30),
    "<a xmlns='relative'/>": ("relative_namespace", 3),
    "<a xmlns:p='/x'/>": ("relative_namespace", 3),
    "<a xmlns='urn:a b'/>": ("relative_namespace", 3),
    "<a xmlns='urn:é'/>": ("relative_namespace", 3),
    "<a xmlns=':a'/>": ("relative_namespace", 3),
    "<a xmlns='1urn:a'/>": ("relative_namespace", 3),
    "<a xmlns='urn:%4'/>": ("relative_namespace", 3),
    "<a xmlns='urn:a#b#c'/>": ("relative_namespace", 3),
    "<a xmlns='http://a:b/'/>": ("relative_namespace", 3),
    "<a xmlns='http://a?b=1&amp;c'/>": ("namespace_ampersand", 3),
    "<a Id='x'><b Id='x'/></a>": ("duplicate_id", 13),
    "<a Id='x'><b ID=' x'/></a>": ("duplicate_id", 13),
    "<a id='&#120;'><b xml:id='x'/><c Id='x'/></a>": ("duplicate_id", 18),
    "<a ID='y' Id='y'/>": ("duplicate_id", 10),
}


@pytest.mark.parametrize("text", OTHERS)
def test_other_refusals(text: str) -> None:
    found = refusal(text)
    assert (found.code, found.offset) == OTHERS[text]
    assert "{" not in found.message


MESSAGES = {
    "<?xml version='1.1'?><a/>": "the document is XML 1.1; only XML 1.0 is signed",
    "<a xmlns='&#114;elative'/>": "the namespace 'relative' is not an absolute URI",
    "<a Id='x'><b Id='x'/></a>": "the id 'x' occurs twice",
    "<a>" * 257: "elements are nested more than 256 deep",
    f"<a {'x' * (1 << 20)}=''/>": "a tag, comment or processing instruction is longer than 1 MB",
    f"<a Id='{'{y}' * 100}'><b Id='{'{y}' * 100}'/></a>": f"the id '{('{y}' * 100)[:80]}' occurs twice",
    "<a></b>": "mismatched tag",
    f"<a xmlns:p='urn:{'x' * 2000}'>{'<p:b/>' * 100}</a>": (
        "the canonical form is more than 16 times as long as the document, since it declares namespaces again and again"
    ),
}


@pytest.mark.parametrize("text", MESSAGES, ids=MESSAGES.values())
def test_messages_name_what_is_wrong(text: str) -> None:
    assert refusal(text).message == MESSAGES[text]


def test_codes() -> None:
    """Callers may rely on them."""
    assert set(refusal_codes()) == {
        "not_well_formed", "doctype", "version", "encoding", "relative_namespace", "namespace_ampersand", "duplicate_id",
        "limit_depth", "limit_attributes", "limit_namespaces", "limit_nodes", "limit_further_nodes", "limit_tag", "limit_output",
        "limit_attribute_namespaces", "limit_factor", "limit_memory",
    }  # fmt: skip


ABSOLUTE = [
    "urn:a",
    "http://a/",
    "http://a.example:8080/b?c=d#e",
    "http://u:p@h:80/",
    "http://[::1]:80/",
    "http://[::1]",
    "x:%41%ff",
    "a+b-c.d:e",
    "urn:",
]


@pytest.mark.parametrize("uri", ABSOLUTE)
def test_absolute_uris(uri: str) -> None:
    assert canonical_form(CanonicalTask(f'<a xmlns="{uri}"/>'.encode())) == f'<a xmlns="{uri}"></a>'.encode()


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16", "utf-32"])
def test_utf16_must_be_transcoded_before(codec: str) -> None:
    text = "<?xml version='1.0' encoding='UTF-16'?><a/>"
    assert refusal(text.encode(codec)).code in ("encoding", "not_well_formed")
    assert canonical_form(CanonicalTask(text.encode(), transcoded=True)) == b"<a></a>"


def test_line_and_column() -> None:
    found = refusal("<a>\r\n\ré\n é<b></c></a>".encode())
    assert (found.line, found.column, found.offset) == (4, 8, 17)


# --- limits -----------------------------------------------------------------------------------------------------------


def accepted(text: str, limits: CanonicalLimits) -> CanonicalForm:
    (found,) = digest_many([CanonicalTask(text.encode())], limits)
    assert isinstance(found, CanonicalForm), found
    return found


def limit_cases() -> dict[str, tuple[CanonicalLimits, str, str]]:
    declared = " ".join(f'xmlns:p{number}="urn:{number}"' for number in range(8))
    return {
        "limit_depth": (CanonicalLimits(depth=3), "<a><a><a/><a></a></a></a>", "<a><a><a><a/></a></a></a>"),
        "limit_attributes": (CanonicalLimits(attributes=2), "<a b='' c='' xmlns:d='urn:d'/>", "<a b='' c='' d=''/>"),
        "limit_namespaces": (
            CanonicalLimits(namespaces=8),
            f"<a><b {declared}/><b {declared}/></a>",
            f"<a xmlns='urn:a'><b {declared}/></a>",
        ),
        "limit_nodes": (CanonicalLimits(nodes=4), "<a b=''><c/><c/></a>", "<a b=''><c/><c/><c/></a>"),
        "limit_further_nodes": (
            CanonicalLimits(further_nodes=5),
            "<!--c--><a xmlns='urn:a'>x<b/>y</a><?p?>",
            "<!--c--><a xmlns='urn:a'>x<b/>y<![CDATA[z]]></a><?p?>",
        ),
        "limit_attribute_namespaces": (
            CanonicalLimits(attribute_namespaces=3),
            "<a xmlns:p='urn:p' xmlns:q='urn:q'><b p:c='' q:c='' d=''/><b q:d='' p:d=''/></a>",
            "<a xmlns:p='urn:p' xmlns:q='urn:q' xmlns:r='urn:r'><b p:c='' q:c='' d=''/><b q:c='' r:c=''/></a>",
        ),
        "limit_factor": (
            CanonicalLimits(output_factor=2),
            f"<a xmlns:p='urn:{'x' * 400}'>{'<p:b>xx</p:b>' * 1}</a>",
            f"<a xmlns:p='urn:{'x' * 400}'>{'<p:b>xx</p:b>' * 3}</a>",
        ),
        "limit_memory": (
            CanonicalLimits(memory_bytes=100_000),
            "<a>" + "".join(f"<b id='{number}'/>" for number in range(500)) + "</a>",
            "<a>" + "".join(f"<b id='{number}'/>" for number in range(9000)) + "</a>",
        ),
        "limit_tag": (CanonicalLimits(tag_bytes=100), f"<a b='{'x' * 90}'/>", f"<a b='{'x' * 100}'/>"),
        "limit_output": (CanonicalLimits(output_bytes=40), f"<a>{'x' * 33}</a>", f"<a>{'x' * 34}</a>"),
    }


@pytest.mark.parametrize("code", limit_cases())
def test_limits(code: str) -> None:
    limits, within, beyond = limit_cases()[code]
    accepted(within, limits)
    assert refusal(beyond, limits).code == code


@pytest.mark.parametrize(
    "beyond", ["<a><!--{}--></a>", "<a><?p {}?></a>", "<{}/>", "<a></a{}>", "<a b='{}'/>", "<a {}='1'/>"]
)
def test_long_markup(beyond: str) -> None:
    limits = CanonicalLimits(tag_bytes=1000)
    filling = (" " if "</a{" in beyond else "x") * 2000
    assert refusal(beyond.format(filling), limits).code == "limit_tag"


def test_long_output_is_noticed_before_it_is_written() -> None:
    """A long namespace name that each of many elements declares anew."""
    text = f"<a xmlns:p='urn:{'x' * 500_000}'>{'<p:a/>' * 100_000}</a>"
    started = time.process_time()
    assert refusal(text, CanonicalLimits(output_bytes=50 << 20, output_factor=1000)).code == "limit_output"
    assert time.process_time() - started < 2


def test_hostile_documents_are_cheap() -> None:
    """What makes a reader quadratic that is careless."""
    many = 100_000
    limits = CanonicalLimits(
        depth=300, attributes=many, namespaces=many, nodes=10 * many, tag_bytes=1 << 24, memory_bytes=1 << 28
    )
    ids = "".join(f"<b Id='{number}'/>" for number in range(many))
    prefixes = " ".join(f"xmlns:p{number}='urn:{number}'" for number in range(many // 2))
    attributes = " ".join(f"a{number}=''" for number in range(many))
    scopes = "".join(f"<p:b xmlns:p='urn:{number}'/>" for number in range(many // 2))
    texts = [
        f"<a>{ids}</a>",
        f"<a {prefixes}/>",
        f"<a {attributes}/>",
        f"<a>{scopes}</a>",
        "<a>" + "]" * 3_000_000 + "</a>",
        "<a>" + "&lt;" * 1_000_000 + "</a>",
        "<a><![CDATA[" + "]>" * 1_000_000 + "]]></a>",
        "<a>" + "<![CDATA[]]>" * 300_000 + "</a>",
    ]
    started = time.process_time()
    for text in texts:
        accepted(text, limits)
    assert time.process_time() - started < 10
    assert refusal("<a>" * many + "</a>" * many).code == "limit_depth"
    assert refusal(texts[2]).code == "limit_attributes"


def test_a_text_of_a_hundred_megabytes() -> None:
    data = b"<a>" + b"x" * (100 << 20) + b"</a>"
    (found,) = forms([CanonicalTask(data)])
    assert found.canonical_bytes == len(data)
