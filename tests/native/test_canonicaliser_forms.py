"""The canonicaliser on what it accepts: canonical forms, digests, pieces of any size, every kernel."""

import hashlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.canonical import forms
from tests.support.generated_xml import document

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import (
    CanonicalForm,
    CanonicalRefusal,
    CanonicalTask,
    canonical_form,
    digest_many,
)

KERNELS = [name for name, _, supported, _ in canonicaliser.kernels() if supported]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    yield canonicaliser.use_kernels(request.param)
    canonicaliser.use_kernels()


def form(text: str | bytes, **options: Any) -> str:
    made = canonical_form(CanonicalTask(text.encode() if isinstance(text, str) else text, **options))
    assert isinstance(made, bytes), made
    return made.decode()


# After the examples of Canonical XML 1.0, section 3, and Exclusive XML Canonicalization 1.0, section 2: what they show, on other
# documents.
FORMS = {
    "around the root": (
        "<?xml version='1.0'?>\n\n<?style  href='s'\n  kind=\"x\" ?>\n<order>Ready</order>\n\n<?end?>\n\n<!-- last -->",
        "<?style href='s'\n  kind=\"x\" ?>\n<order>Ready</order>\n<?end?>",
    ),
    "white space in content": (
        "<a>\n  <b>  x </b> y\n\n <c>\t</c>\n</a>",
        "<a>\n  <b>  x </b> y\n\n <c>\t</c>\n</a>",
    ),
    "start and end tags": (
        '<a>\n<b1/>\n<b2></b2 >\n<b3  z="1"\n  y = \'2\'></b3>\n<b4 w:z="1" w:y="2" q:a="3" a="4" '
        'xmlns:w="urn:w" xmlns:q="urn:b"  >x</b4\n></a>',
        '<a>\n<b1></b1>\n<b2></b2>\n<b3 y="2" z="1"></b3>\n<b4 xmlns:q="urn:b" xmlns:w="urn:w" a="4" q:a="3" '
        'w:y="2" w:z="1">x</b4></a>',
    ),
    "order of namespaces": (
        '<a:x xmlns:b="urn:1" xmlns:a="urn:2" xmlns="urn:3" b:k="" c="" a:k="" xmlns:unused="urn:4"><y/></a:x>',
        '<a:x xmlns:a="urn:2" xmlns:b="urn:1" c="" b:k="" a:k=""><y xmlns="urn:3"></y></a:x>',
    ),
    "characters": (
        "<t>one&#x0d;&#xA;two\r\nthree\rfour</t>",
        "<t>one&#xD;\ntwo\nthree\nfour</t>",
    ),
    "special characters": (
        "<t a='&lt;&amp;&#62;\"' b=\"&apos;'\"><![CDATA[x>\"0\" && x<'9']]> &gt;]&#93;&gt;</t>",
        '<t a="&lt;&amp;>&quot;" b="\'\'">x&gt;"0" &amp;&amp; x&lt;\'9\' &gt;]]&gt;</t>',
    ),
    "attribute values": (
        "<t a='  A &#x20;&#13;&#xa;&#9;\tB\r\nC\nD\r'/>",
        '<t a="  A  &#xD;&#xA;&#x9; B C D "></t>',
    ),
    "UTF-8": ("<d>&#169;&#8364;&#x1F600;</d>", "<d>©€\U0001f600</d>"),
    "undeclared default namespace": (
        '<a xmlns="urn:1"><b xmlns=""><c xmlns=""/><d xmlns="urn:1"/></b></a>',
        '<a xmlns="urn:1"><b xmlns=""><c></c><d xmlns="urn:1"></d></b></a>',
    ),
    "declared only where used": (
        '<a:a xmlns:a="urn:1" xmlns:b="urn:2"><b:b/><b:b><b:c/><a:c/></b:b></a:a>',
        '<a:a xmlns:a="urn:1"><b:b xmlns:b="urn:2"></b:b><b:b xmlns:b="urn:2"><b:c></b:c><a:c></a:c></b:b></a:a>',
    ),
    "declared again with the same meaning": (
        '<a:a xmlns:a="urn:1"><a:b xmlns:a="urn:1"><a:c xmlns:a="urn:2"><a:d xmlns:a="urn:1"/></a:c></a:b></a:a>',
        '<a:a xmlns:a="urn:1"><a:b><a:c xmlns:a="urn:2"><a:d xmlns:a="urn:1"></a:d></a:c></a:b></a:a>',
    ),
    "a prefix that comes back": (
        '<a:a xmlns:a="urn:1"><x><a:b xmlns:a="urn:2"/><a:c/></x></a:a>',
        '<a:a xmlns:a="urn:1"><x><a:b xmlns:a="urn:2"></a:b><a:c></a:c></x></a:a>',
    ),
    "the prefix xml": (
        '<a xmlns:xml="http://www.w3.org/XML/1998/namespace" xml:lang="pt" b="1" xml:id=" i "/>',
        '<a b="1" xml:id=" i " xml:lang="pt"></a>',
    ),
    "names beyond ASCII": (
        '<é:日本 xmlns:é="urn:1" z="" ä="" é:b=""/>',
        '<é:日本 xmlns:é="urn:1" z="" ä="" é:b=""></é:日本>',
    ),
    "a declaration with references": ('<a xmlns="urn:&#97;&apos;"/>', '<a xmlns="urn:a\'"></a>'),
    "empty": ("<a/>", "<a></a>"),
    "brackets": ("<a>]]</a>", "<a>]]</a>"),
}


@pytest.mark.parametrize("name", FORMS)
def test_form(name: str) -> None:
    text, expected = FORMS[name]
    assert form(text) == expected
    assert form("\ufeff" + text) == expected
    assert form(expected) == expected


def test_comments() -> None:
    text = "<!--1-->\n<?p?><a><!--2\r\n&<>--><b/></a><!--3-->"
    assert form(text) == "<?p?>\n<a><b></b></a>"
    assert form(text, with_comments=True) == "<!--1-->\n<?p?>\n<a><!--2\n&<>--><b></b></a>\n<!--3-->"


def test_inclusive_prefixes() -> None:
    text = '<a xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q"><x:b xmlns:x="urn:x"><c xmlns=""/></x:b></a>'
    assert form(text, inclusive_prefixes=["p", "none"]) == (
        '<a xmlns="urn:d" xmlns:p="urn:p"><x:b xmlns:x="urn:x"><c xmlns=""></c></x:b></a>'
    )
    start = text.index("<x:b")
    assert form(text, apex=start, inclusive_prefixes=[""]) == (
        '<x:b xmlns="urn:d" xmlns:x="urn:x"><c xmlns=""></c></x:b>'
    )
    assert form(text, apex=start) == '<x:b xmlns:x="urn:x"><c></c></x:b>'


SIGNED = (
    '<a xmlns:ds="http://www.w3.org/2000/09/xmldsig#">1<ds:Signature Id="s"><ds:Signature/>x<!--c--></ds:Signature>2'
    '<ds:Object/><s:Signature xmlns:s="http://www.w3.org/2000/09/xmldsig#"/><Signature/>3</a>'
)


def test_without_signatures() -> None:
    assert form(SIGNED, without_signatures=True, with_comments=True) == (
        '<a>12<ds:Object xmlns:ds="http://www.w3.org/2000/09/xmldsig#"></ds:Object><Signature></Signature>3</a>'
    )


def test_omitted_and_apex() -> None:
    text = "<!--0--><a><b>1</b><?p?><c><b>2</b><!--3--></c><d/>4</a><!--5-->"
    first, second = text.index("<b>1"), text.index("<b>2")
    assert form(text, omitted=[first, second]) == "<a><?p?><c></c><d></d>4</a>"
    assert form(text, apex=text.index("<c>"), with_comments=True) == "<c><b>2</b><!--3--></c>"
    assert form(text, apex=text.index("<c>"), omitted=[first, second], with_comments=True) == "<c><!--3--></c>"
    assert form(text, apex=text.index("<d/>")) == "<d></d>"
    assert form(text, apex=1) == ""


def text_of(size: int) -> bytes:
    """A document whose text has what is changed every few bytes or every few thousand, so that pieces end everywhere."""
    rng = random.Random(size)
    words = [b"&amp;", "é".encode(), b"\r\n", b"<b/>", b"x" * rng.randrange(5000), b">", b" " * rng.randrange(90)]
    made = [b"<a>"]
    while size > 0:
        made.append(rng.choice(words))
        size -= len(made[-1])
    return b"".join(made) + b"</a>"


@pytest.mark.parametrize("size", [0, 1, 60_000, 250_000, 8_300_000, 8_500_000, 20_000_000])
def test_sizes(size: int) -> None:
    """Below 8 MB a canonical form stays in the buffer, beyond it goes through a stream."""
    data = text_of(size)
    made = form(data).encode()
    # What stands between tags and is written in the same way either way.
    expected = data.replace(b"\r\n", b"\n").replace(b"<b/>", b"\0").replace(b"<a>", b"\1").replace(b"</a>", b"\2")
    expected = expected.replace(b">", b"&gt;").replace(b"\0", b"<b></b>").replace(b"\1", b"<a>").replace(b"\2", b"</a>")
    assert made == expected
    (found,) = forms([CanonicalTask(data)])
    assert found.digest == hashlib.sha256(made).digest()
    assert found.canonical_bytes == len(made)


def test_many_at_once() -> None:
    """Short ones, long ones and refused ones in one call."""
    rng = random.Random(3)
    contents = [document(seed) for seed in range(200)]
    contents += [text_of(rng.choice((100, 5_000, 400_000, 1_500_000))) for _ in range(40)] + [
        text_of(3_000_000),
        b"<a>",
    ]
    rng.shuffle(contents)
    found = digest_many([CanonicalTask(content) for content in contents])
    for content, one in zip(contents, found, strict=True):
        if content == b"<a>":
            assert isinstance(one, CanonicalRefusal) and one.code == "not_well_formed"
        else:
            assert isinstance(one, CanonicalForm) and one.digest == hashlib.sha256(form(content).encode()).digest()


def test_empty_batch() -> None:
    assert digest_many([]) == []


@pytest.mark.parametrize("algorithm", ["sha384", "sha512", "sha3_256"])
def test_other_digests(algorithm: str) -> None:
    for size in (10, 3_000_000):
        data = text_of(size)
        found = forms([CanonicalTask(data, digest_algorithm=algorithm), CanonicalTask(data)])
        assert found[0].digest == hashlib.new(algorithm, form(data).encode()).digest()
        assert found[1].digest == hashlib.sha256(form(data).encode()).digest()


def test_no_digest() -> None:
    data = text_of(9_000_000)
    tasks = [
        CanonicalTask(data, digest_algorithm=None),
        CanonicalTask(b"<a/>", digest_algorithm=None),
        CanonicalTask(b"<a/>"),
    ]
    found = forms(tasks)
    assert [one.digest for one in found] == [b"", b"", hashlib.sha256(b"<a></a>").digest()]
    assert found[0].canonical_bytes == len(form(data).encode())


def test_unknown_digest() -> None:
    with pytest.raises(ValueError, match="md17"):
        digest_many([CanonicalTask(b"<a/>", digest_algorithm="md17")])


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_buffers(buffer: type) -> None:
    assert form(buffer(b"<a/>")) == "<a></a>"


def test_a_long_text_in_every_position() -> None:
    """A register may begin and end at any byte of what it looks for."""
    for special, written in (
        ("&lt;", "&lt;"),
        (">", "&gt;"),
        ("\r", "\n"),
        ("é", "é"),
        ("<b/>", "<b></b>"),
        ("\t", "\t"),
    ):
        for before in range(0, 140, 3):
            text = "x" * before + special + "y" * (140 - before)
            assert form(f"<a>{text}</a>") == f"<a>{text.replace(special, written)}</a>"
            if special != "<b/>" and special != "\r":
                value = text.replace("\t", "&#9;")
                assert form(f'<a b="{value}"/>') == f'<a b="{value.replace("&#9;", "&#x9;")}"></a>'


def test_threads_do_not_disturb_each_other() -> None:
    data = [text_of(size) for size in (1_000, 80_000, 300_000, 2_500_000)]
    expected = [one.digest for one in forms([CanonicalTask(one) for one in data])]
    wrong: list[CanonicalForm] = []

    def work() -> None:
        for _ in range(10):
            found = forms([CanonicalTask(one) for one in data])
            wrong.extend(one for one, digest in zip(found, expected, strict=True) if one.digest != digest)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
