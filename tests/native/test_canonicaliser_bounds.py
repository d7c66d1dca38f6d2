"""What a document costs is in proportion to its length: nodes are counted, and no two things in it multiply.

Costs are ratios: of the processor time for a document and for one of another length, or for a plain one of the same length.
"""

import time
from collections.abc import Callable

import pytest
from lxml import etree
from tests.support.canonical import forms
from tests.support.generated_xml import document

from batchseal._native.canonicaliser import (
    TOLD_IDS,
    CanonicalForm,
    CanonicalLimits,
    CanonicalRefusal,
    CanonicalTask,
    canonical_form,
    digest_many,
)

MB = 1 << 20
# The limits of lists and trees do not matter here.
ENDLESS = CanonicalLimits(nodes=10**8, further_nodes=10**8, memory_bytes=1 << 33)


def seconds(content: bytes) -> float:
    """The processor time of reading a document, at the best of some tries."""
    best = 1e9
    for _ in range(4):
        began = time.process_time()
        digest_many([CanonicalTask(content, brief=True, id_part="none")], ENDLESS)
        best = min(best, time.process_time() - began)
    return best


def plain(length: int) -> bytes:
    return b"<a>" + b"<b>some text here</b>" * (length // 21) + b"</a>"


# --- nodes ------------------------------------------------------------------------------------------------------------


def nodes_of(content: bytes) -> tuple[int, int]:
    """Elements and attributes; texts, comments, instructions and declarations: as libxml2's tree has them."""
    elements = further = 0
    root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, collect_ids=False))
    tree = etree.ElementTree(root)
    for event, node in etree.iterwalk(tree, events=("start", "comment", "pi", "start-ns")):
        if event == "start":
            elements += 1 + len(node.attrib)
            further += bool(node.text)
        elif event != "start-ns":
            further += 1
        else:
            further += 1
            continue
        further += node.getparent() is not None and bool(node.tail)
    return elements, further


@pytest.mark.parametrize("seed", range(300))
def test_every_node_is_counted(seed: int) -> None:
    content = document(seed)
    (found,) = forms([CanonicalTask(content)])
    elements, further = nodes_of(content)
    assert found.nodes == elements
    # A CDATA section is counted apart from the text that it becomes a part of, and libxml2 drops a declaration of xml.
    assert further <= found.further_nodes <= further + 2 * content.count(b"<![CDATA[") + content.count(b"xmlns:xml")


@pytest.mark.parametrize(
    ("content", "further"),
    [
        (b"<a>x<?p?>x<?p?>x</a>", 5),
        (b"<!--c--><a>x<!--c-->y</a><!--c-->", 5),
        (b"<a xmlns='urn:a' xmlns:p='urn:p'><b xmlns='urn:b'/></a>", 3),
        (b"<a>&lt;x&#65;</a>", 1),
        (b"<?xml version='1.0'?>\n<a> </a>\n", 1),
    ],
)
def test_kinds_of_nodes(content: bytes, further: int) -> None:
    (found,) = forms([CanonicalTask(content)])
    assert found.further_nodes == further == nodes_of(content)[1]


# --- what is told -----------------------------------------------------------------------------------------------------


def test_only_the_ids_that_are_asked_for_are_told() -> None:
    content = b"<a Id='x-mine'><b ID='other'/><c id='y-mine-2'/><s:Signature xmlns:s='http://www.w3.org/2000/09/xmldsig#'/></a>"
    (found,) = forms([CanonicalTask(content, id_part="-mine", brief=True)])
    assert found.ids == {"x-mine", "y-mine-2"}
    assert (found.signature_count, found.signatures, found.prefixes) == (1, (), {})
    assert found.enclosing_ids == {"x-mine"}
    many = b"<a>" + b"".join(b"<b id='-mine%d'/>" % number for number in range(3000)) + b"</a>"
    (found,) = forms([CanonicalTask(many, id_part="-mine", brief=True)])
    assert len(found.ids) == TOLD_IDS


# --- the length of the canonical form ---------------------------------------------------------------------------------


def repeated(uri_bytes: int, elements: int, unit: bytes = b"<p:b/>") -> bytes:
    """Siblings that each declare a namespace in the canonical form."""
    return b"<a xmlns:p='urn:%s'>" % (b"u" * uri_bytes) + unit * elements + b"</a>"


@pytest.mark.parametrize("factor", [1, 2, 16, 100])
def test_the_canonical_form_is_bounded_by_the_length_of_the_document(factor: int) -> None:
    limits = CanonicalLimits(output_factor=factor)
    verdicts = set()
    for elements in range(0, 1000, 7):
        content = repeated(4000, elements)
        (whole,) = digest_many([CanonicalTask(content)], CanonicalLimits(output_factor=1 << 20))
        assert isinstance(whole, CanonicalForm)
        found = canonical_form(CanonicalTask(content), limits)
        within = whole.canonical_bytes <= factor * len(content)
        assert isinstance(found, bytes) is within
        assert within or (isinstance(found, CanonicalRefusal) and found.code == "limit_factor")
        verdicts.add(within)
    assert factor == 1 or True in verdicts
    assert factor == 100 or False in verdicts


def test_a_short_document_may_be_longer_in_canonical_form() -> None:
    content = b"<a xmlns:p='urn:uuuuuuuuuuuuuuuuuuuuu'>" + b"<p:b/>" * 15 + b"</a>"
    assert canonical_form(CanonicalTask(content), CanonicalLimits(output_factor=4)) == canonical_form(
        CanonicalTask(content)
    )


@pytest.mark.parametrize(
    "content",
    [
        repeated(MB - 100, 1000),
        repeated(300_000, 100_000),
        b"<a xmlns:p='urn:%s'>" % (b"u" * 500_000) + b"<b p:c=''/>" * 50_000 + b"</a>",
        b"<a xmlns='urn:%s'>" % (b"u" * 500_000) + b"<b xmlns=''><c xmlns='urn:x'/></b>" * 10_000 + b"</a>",
        b"<a xmlns:p='urn:%s'>" % (b"u" * 4000) + b"<p:b/>" * 80,
    ],
    ids=["long", "many", "attributes", "default", "short"],
)
def test_a_long_canonical_form_is_refused_before_it_is_written(content: bytes) -> None:
    """It is 1 GB for the first document."""
    assert seconds(content) < 60 * seconds(plain(max(len(content), 100_000)))


# --- nothing multiplies -----------------------------------------------------------------------------------------------


def filled(length: int, unit: Callable[[int], bytes], start: bytes = b"<a>", end: bytes = b"</a>") -> bytes:
    parts, left = [start], length - len(start)
    for number in range(length):
        parts.append(unit(number))
        left -= len(parts[-1])
        if left <= 0:
            break
    return b"".join([*parts, end])


def two_namespaces(length: int) -> bytes:
    """Their names differ in the last character alone. Both are declared by the root in the canonical form."""
    names = b"u" * min(length // 4, MB // 2 - 1000)
    start = b'<a:r xmlns:a="urn:%s1" xmlns:b="urn:%s2" b:z="">' % (names, names)
    return filled(length, lambda _: b'<c a:x="" b:x="" a:y="" b:y=""/>', start, b"</a:r>")


def many_namespaces(length: int) -> bytes:
    """Elements that have attributes of 100 namespaces with long names."""
    names = b"u" * (length // 400)
    declared = [b'xmlns:p%d="urn:%s%d" p%d:z=""' % (number, names, number, number) for number in range(100)]
    start = b"".join(b"<r %s>" % b" ".join(declared[at : at + 25]) for at in range(0, 100, 25))
    element = b"<c " + b" ".join(b'p%d:x=""' % number for number in range(100)) + b"/>"
    return filled(length, lambda _: element, start, b"</r>" * 4)


def many_prefixes(length: int) -> bytes:
    start = b"<r " + b" ".join(b'xmlns:p%d="urn:%d"' % (number, number) for number in range(900)) + b">"
    return filled(length, lambda number: b"<p%d:x/>" % (number * 7 % 900), start, b"</r>")


def deep(length: int) -> bytes:
    levels = b"".join(b"<d xmlns:q='urn:%d' Id='%d'>" % (number, number) for number in range(200))
    return filled(length, lambda _: b"<q:x/>", levels, b"</d>" * 200)


MECHANISMS: dict[str, Callable[[int], bytes]] = {
    "ids": lambda length: filled(length, lambda n: b"<a Id='%d' ID='b%d' id='c%d'/>" % (n, n, n)),
    "long ids": lambda length: filled(length, lambda n: b"<a Id='%s%d'/>" % (b"x" * 5000, n)),
    "declared": lambda length: filled(length, lambda n: b"<b xmlns:p%d='urn:%d'/>" % (n, n)),
    "declared anew": lambda length: filled(length, lambda n: b"<b xmlns:p='urn:%d'/>" % n),
    "two namespaces": two_namespaces,
    "many namespaces": many_namespaces,
    "many prefixes": many_prefixes,
    "deep": deep,
    "signatures": lambda length: filled(
        length, lambda _: b"<p:Signature/>", b"<r xmlns:p='http://www.w3.org/2000/09/xmldsig#'>", b"</r>"
    ),
    "comments": lambda length: filled(length, lambda _: b"<!--" + b"- " * 1000 + b"-->"),
    "sections": lambda length: filled(length, lambda _: b"<![CDATA[" + b"]>" * 1000 + b"]]>"),
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_cost_of_a_megabyte_does_not_grow_with_the_document(mechanism: str) -> None:
    small, large = MECHANISMS[mechanism](MB), MECHANISMS[mechanism](4 * MB)
    forms_of_both = digest_many([CanonicalTask(small, brief=True), CanonicalTask(large, brief=True)], ENDLESS)
    assert all(isinstance(one, CanonicalForm) for one in forms_of_both), forms_of_both
    ratio = seconds(large) / seconds(small)
    assert ratio < 4 * 3  # what no longer fits into the caches of the processor costs more


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_megabyte_costs_little_whatever_is_in_it(mechanism: str) -> None:
    """Comparing two long namespace names for each pair of attributes took a hundred times as long as a plain document."""
    assert seconds(MECHANISMS[mechanism](MB)) < 25 * seconds(plain(MB))
