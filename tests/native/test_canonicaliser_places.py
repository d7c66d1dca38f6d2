"""What the canonicaliser notes beside the canonical form: places, prefixes, ids, signatures."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree
from tests.support.canonical import canonical, take_out, tree
from tests.support.generated_xml import DS, document

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import CanonicalForm, CanonicalTask, canonical_form, digest_many

KERNELS = [name for name, _, supported, _ in canonicaliser.kernels() if supported]
Step = tuple[str | None, str, int | None]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    yield canonicaliser.use_kernels(request.param)
    canonicaliser.use_kernels()


def found(text: str | bytes, *steps: Step, **options: Any) -> CanonicalForm:
    data = text.encode() if isinstance(text, str) else text
    (one,) = digest_many([CanonicalTask(data, steps=steps, **options)])
    assert isinstance(one, CanonicalForm), one
    return one


UBL = (
    '\ufeff<?xml version="1.0"?>\n<Invoice xmlns="urn:i" xmlns:ext="urn:e" ID="é1"><ext:Extensions Id=" e&#49; ">'
    "<ext:Extension><ext:Content/></ext:Extension><ext:Extension><ext:Content xmlns:ext='urn:f' xmlns=''>x</ext:Content >"
    '</ext:Extension></ext:Extensions><Line xml:id="l"/></Invoice>\n<!-- end -->'
)


def at(one: CanonicalForm, text: str = UBL) -> str:
    return text.encode()[one.place :].decode()


def test_the_root() -> None:
    one = found(UBL)
    assert at(one) == "</Invoice>\n<!-- end -->"
    assert (one.root, one.parent, one.self_closed, one.match_count, one.paths) == (
        "Invoice",
        "Invoice",
        False,
        1,
        ("/Invoice",),
    )
    assert one.prefixes == {"": "urn:i", "ext": "urn:e", "xml": "http://www.w3.org/XML/1998/namespace"}
    assert one.ids == {"é1", "e1", "l"}
    assert one.enclosing_ids == {"é1"}
    assert one.signatures == ()


def test_a_root_that_is_empty() -> None:
    one = found('<a b="/>" c = "1" />')
    assert (one.place, one.self_closed, one.parent) == (18, True, "a")


def test_a_path() -> None:
    path = [(None, "Invoice", None), ("ext", "Extensions", None), ("ext", "Extension", 2), (None, "Content", None)]
    one = found(UBL, *path)
    assert at(one).startswith("</ext:Content >")
    assert one.prefixes == {"ext": "urn:f", "xml": "http://www.w3.org/XML/1998/namespace"}
    assert one.enclosing_ids == {"é1", "e1"}
    first = found(UBL, *path[:2], ("ext", "Extension", 1), ("ext", "*", None))
    assert at(first).startswith("/></ext:Extension>")
    assert (first.self_closed, first.parent) == (True, "ext:Content")
    assert first.paths == ("/Invoice/ext:Extensions/ext:Extension/ext:Content",)


def test_several_and_none() -> None:
    both = found(UBL, (None, "Content", None), anywhere=True)
    assert both.match_count == 2
    assert set(both.paths) == {"/Invoice/ext:Extensions/ext:Extension/ext:Content"}
    assert found(UBL, (None, "Content", None)).match_count == 0
    assert found(UBL, ("other", "Content", None), anywhere=True).match_count == 0
    many = found("<a>" + "<b/>" * 1000 + "</a>", (None, "b", None), anywhere=True)
    assert (many.match_count, len(many.paths)) == (1000, 3)


def test_prefixes_of_a_location_mean_what_they_mean_at_the_element() -> None:
    text = '<a xmlns:p="urn:1"><p:b/><q:b xmlns:q="urn:1"/><p:b xmlns:p="urn:2"/><b xmlns="urn:1"/><b/></a>'
    assert found(text, ("p", "b", None), anywhere=True).match_count == 4
    assert found(text, (None, "b", None), anywhere=True).match_count == 5


def test_a_match_inside_a_signature() -> None:
    text = f'<a><s:Signature xmlns:s="{DS}"><b/></s:Signature></a>'
    one = found(text, (None, "b", None), anywhere=True)
    assert (one.match_count, one.match_in_signature) == (0, True)
    assert found(f'<Signature xmlns="{DS}"/>').match_in_signature


def test_signatures() -> None:
    text = f'<a xmlns:ds="{DS}">é<ds:Signature><ds:Signature/></ds:Signature ><ds:signature/><Signature/><ds:Signature/></a>'
    one = found(text)
    assert [text.encode()[start:end] for start, end in one.signatures] == [
        b"<ds:Signature><ds:Signature/></ds:Signature >",
        b"<ds:Signature/>",
    ]


def test_ids_are_those_without_a_prefix_and_xml_id() -> None:
    text = "<a xmlns:w='urn:w' w:Id='1' w:id='1' Id='\u00a0 2&#9;' id='3' iD='4' xml:ID='5'><b ID='6' xml:id='7'/></a>"
    assert found(text).ids == {"2", "3", "6", "7"}


def test_what_is_put_at_the_place_is_the_last_child() -> None:
    """On generated documents: the text goes into the element that is named, and nothing else changes."""
    for seed in range(300):
        data = document(seed)
        one = found(data)
        root = tree(data).getroot()
        if root.tag == f"{{{DS}}}Signature":
            continue
        before, behind = data[: one.place], data[one.place :]
        text = f"></{one.parent}>".encode()
        changed = before + (b"><n/>" + text[1:] + behind[2:] if one.self_closed else b"<n/>" + behind)
        etree.SubElement(root, "n")
        expected = canonical(root.getroottree())
        made = canonical_form(CanonicalTask(changed))
        if b"xmlns=" not in expected:  # lxml would put the element into the default namespace
            assert made == expected
        signed = tree(changed)
        take_out(signed.getroot()[-1])
        assert canonical(signed) == canonical_form(CanonicalTask(data))


def test_locations_mean_what_xpath_means() -> None:
    """Names without prefixes, with positions, against lxml on documents with few names."""
    rng = random.Random(7)

    def element(depth: int) -> str:
        name = rng.choice("abc")
        inside = "".join(element(depth + 1) for _ in range(rng.randrange(4))) if depth < 5 else ""
        return f"<{name}>{inside}</{name}>"

    for _ in range(150):
        text = element(0)
        root = etree.fromstring(text)
        for _ in range(10):
            steps: list[Step] = [
                (None, rng.choice("abc*"), rng.choice((None, None, 1, 2))) for _ in range(rng.randrange(1, 5))
            ]
            anywhere = rng.random() < 0.5
            path = "/".join(name + (f"[{position}]" if position else "") for _, name, position in steps)
            expected = root.xpath(f"{'//' if anywhere else '/'}{path}")
            one = found(text, *steps, anywhere=anywhere)
            assert one.match_count == len(expected), (text, path)
            if expected:
                # Document order is that of the start tags, as here.
                assert one.parent == expected[0].tag
                assert one.paths[0].count("/") == len(list(expected[0].iterancestors())) + 1


def test_too_many_steps() -> None:
    with pytest.raises(ValueError, match="64"):
        digest_many([CanonicalTask(b"<a/>", steps=[(None, "a", None)] * 65)])
