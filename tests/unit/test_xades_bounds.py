"""What an XML document with signatures costs: its tree is booked for every kind of node, and its expressions are read once.

Costs in time are ratios of the processor time for two documents of one shape.
"""

import ctypes
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lxml import etree
from tests.support.signing_keys import signer
from tests.support.xml_documents import MOMENT, wanted

from batchseal._native.canonicaliser import TOLD_IDS, CanonicalForm, CanonicalLimits, CanonicalTask, digest_many
from batchseal.document import Prepared, Refusal
from batchseal.formats.xades import existing, reading
from batchseal.formats.xades.canonical import READING_COPIES, tree_bytes
from batchseal.formats.xades.names import DS, XPATH, XPATH2_FILTER
from batchseal.formats.xades.xades import Xades, first_suffix
from batchseal.operation import SignError

SIGNATURE = b'<s:Signature xmlns:s="http://www.w3.org/2000/09/xmldsig#"/>'


class Asked:
    """A `Memory` that notes what is booked at most, and grants `granted` bytes."""

    def __init__(self, granted: int = 1 << 40) -> None:
        self.booked = self.most = 0
        self._granted = granted

    @contextmanager
    def __call__(self, wanted_bytes: int) -> Iterator[int]:
        self.booked += wanted_bytes
        self.most = max(self.most, self.booked)
        yield min(wanted_bytes, self._granted)
        self.booked -= wanted_bytes


def prepare(content: bytes, memory: Asked) -> Prepared | Refusal:
    (result,) = Xades().prepare([(0, wanted(), content)], signer("rsa").credential, MOMENT, memory=memory)
    return result


def form(content: bytes) -> CanonicalForm:
    (found,) = digest_many([CanonicalTask(content)], CanonicalLimits(memory_bytes=1 << 30))
    assert isinstance(found, CanonicalForm)
    return found


# --- memory -----------------------------------------------------------------------------------------------------------

COUNT = 30_000
NODES = {
    "elements": b"<b/>" * COUNT,
    "texts": b"x<b/>" * COUNT,
    "long texts": (b"x" * 60 + b"<b/>") * COUNT,
    "comments": b"<!---->" * COUNT,
    "instructions": b"<?p?>" * COUNT,
    "texts and instructions": b"a<?a?>" * COUNT,
    "names of instructions": b"".join(b"<?p%x?>" % number for number in range(COUNT)),
    "attributes": b"<b c='' d='x' e=''/>" * COUNT,
    "names of attributes": b"".join(b"<b c%x=''/>" % number for number in range(COUNT)),
    "names of elements": b"".join(b"<b%x/>" % number for number in range(COUNT)),
    "namespaces": b"".join(b"<b xmlns='u:%x'/>" % number for number in range(COUNT)),
    "prefixes": b"".join(b"<b xmlns:p%x='u:%x'/>" % (number, number) for number in range(COUNT)),
    "sections": b"<![CDATA[x]]><!---->" * COUNT,
    "one text": b"x" * (4 << 20),
    "one text of references": b"&lt;" * (1 << 20),
}


class Heap(ctypes.Structure):
    """What mallinfo2(3) tells."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def heap_bytes() -> int:
    """What is in use of the heap of the C library, which libxml2 takes its memory from."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Heap
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library")
@pytest.mark.parametrize("kind", NODES)
def test_a_tree_takes_no_more_than_is_booked_for_it(kind: str) -> None:
    content = b"<a>" + SIGNATURE + NODES[kind] + b"</a>"
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, huge_tree=True, collect_ids=False)
    before = heap_bytes()
    tree = etree.fromstring(content, parser)
    taken = heap_bytes() - before
    found = form(content)
    assert taken < tree_bytes(found, len(content))
    assert tree.tag == "a"


@pytest.mark.parametrize("kind", NODES)
def test_every_kind_of_node_is_booked_before_the_tree_is_made(kind: str) -> None:
    content = b"<a>" + SIGNATURE + NODES[kind] + b"</a>"
    found = form(content)
    memory = Asked()
    assert isinstance(prepare(content, memory), Prepared)
    assert memory.most >= tree_bytes(found, len(content)) >= 100 * COUNT
    refused = prepare(content, Asked(granted=1 << 20))
    assert isinstance(refused, Refusal)
    assert refused.sign_error is SignError.SIGN_OPERATION_INTERNAL_ERROR
    assert "MB of memory, more than this service has" in refused.cause


@pytest.mark.parametrize(
    "content",
    [
        b"<a>" + SIGNATURE + b"a<?a?>" * 800_000 + b"</a>",
        b"<a>" + SIGNATURE + b"<!---->" * 1_600_000 + b"</a>",
        b"<a>" + b"<b xmlns='u:x'/>x" * 400_000 + b"<b xmlns='u:x'/>" * 99_000 + b"<![CDATA[]]>" * 700_000 + b"</a>",
    ],
    ids=["instructions", "comments", "declarations"],
)
def test_the_number_of_nodes_is_bounded_whatever_they_are(content: bytes) -> None:
    memory = Asked()
    refused = prepare(content, memory)
    assert isinstance(refused, Refusal)
    assert "more than 1500000 texts, comments, processing instructions and namespace declarations" in refused.cause


@pytest.mark.parametrize(
    "content",
    [
        b"<a>" + b"".join(b"<b Id='%d' id='x%d'/>" % (number, number) for number in range(60_000)) + b"</a>",
        b"<a>" + b"".join(b"<b xmlns:p%d='u:%d'/>" % (number, number) for number in range(60_000)) + b"</a>",
        b"<p:a xmlns:p='http://www.w3.org/2000/09/xmldsig#'>" + b"<p:Signature/>" * 200_000 + b"</p:a>",
    ],
    ids=["ids", "prefixes", "signatures"],
)
def test_long_lists_of_the_canonicaliser_are_booked(content: bytes) -> None:
    memory = Asked()
    assert isinstance(prepare(content, memory), Prepared)
    assert memory.most > 20 * len(content)
    refused = prepare(content, Asked(granted=1 << 20))
    assert isinstance(refused, Refusal)
    assert refused.sign_error is SignError.SIGN_OPERATION_INTERNAL_ERROR


EURO, HAN, FACE = "\u20ac", "\u4e2d", "\U0001f600"
TRANSCODED = {
    "windows-1252": ("<?xml version='1.0' encoding='windows-1252'?><a>" + EURO * 3_000_000 + "</a>").encode("cp1252"),
    "one wide": ("<?xml version='1.0' encoding='windows-1252'?><a>" + "x" * 3_000_000 + EURO + "</a>").encode("cp1252"),
    "ISO-8859-1": ("<?xml version='1.0' encoding='ISO-8859-1'?><a>" + "\u00e9" * 3_000_000 + "</a>").encode("latin-1"),
    "UTF-16": ("<a>" + HAN * 1_500_000 + "</a>").encode("utf-16"),
    "surrogates": ("<a>" + HAN * 1_500_000 + FACE + "</a>").encode("utf-16"),
}


@pytest.mark.parametrize("kind", TRANSCODED)
def test_a_document_that_is_transcoded_takes_no_more_than_is_booked_for_it(kind: str) -> None:
    content = memoryview(TRANSCODED[kind])
    tracemalloc.start()
    source = reading.read(content)
    end = source.original_offset(len(source.utf8) - len("</a>"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < READING_COPIES * len(content) + (1 << 20)
    assert end == len(content) - len("</a>".encode("utf-16-le" if source.codec == "utf-16-le" else "ascii"))


def test_a_place_behind_characters_of_any_length_is_found() -> None:
    text = "<a>" + (EURO + HAN + FACE + "x") * 40_000 + "<b/></a>"
    content = text.encode("utf-16")
    source = reading.read(content)
    for place in (0, len("<a>"), len(source.utf8) - len("<b/></a>"), len(source.utf8)):
        assert source.original_offset(place) == 2 + len(source.utf8[:place].decode().encode("utf-16-le"))


# --- ids --------------------------------------------------------------------------------------------------------------


def test_a_document_with_very_many_ids_like_ours_is_refused() -> None:
    suffix = first_suffix(signer("rsa").credential.fingerprint, MOMENT).encode()
    few = b"<a>" + b"".join(b"<b Id='signature-%s-%d'/>" % (suffix, number) for number in range(TOLD_IDS - 1)) + b"</a>"
    assert isinstance(prepare(few, Asked()), Prepared)
    refused = prepare(few.replace(b"<a>", b"<a id='x%s'>" % suffix), Asked())
    assert isinstance(refused, Refusal)
    assert "the ids of the document leave none for a signature" in refused.cause


# --- expressions ------------------------------------------------------------------------------------------------------

NO_SIGNATURE = "not(ancestor-or-self::{}:Signature)"


def signature(expressions: str, algorithm: str = XPATH, declared: str = "") -> bytes:
    return (
        f'<r xmlns:s="{DS}" {declared}><s:Signature><s:SignedInfo><s:Reference URI=""><s:Transforms>'
        f'<s:Transform Algorithm="{algorithm}">{expressions}</s:Transform></s:Transforms></s:Reference></s:SignedInfo>'
        "</s:Signature></r>"
    ).encode()


def broken(content: bytes) -> bool:
    return existing.broken_by_another(etree.fromstring(content), frozenset()) is not None


FILTER = f'<f:XPath xmlns:f="{XPATH2_FILTER}" Filter="{{}}">{{}}</f:XPath>'


@pytest.mark.parametrize(
    ("content", "breaks"),
    [
        (signature(f"<s:XPath>{NO_SIGNATURE.format('s')}</s:XPath>"), False),
        (signature("<s:XPath> not ( ancestor-or-self :: s:Signature ) </s:XPath>"), False),
        (signature(f"<s:XPath>{NO_SIGNATURE.format('t')}</s:XPath>"), True),
        (signature(f"<s:XPath>{NO_SIGNATURE.format('')}</s:XPath>"), True),
        (signature("<s:XPath>not(ancestor-or-self::Signature)</s:XPath>"), True),
        (signature(f"<s:XPath xmlns:s2='{DS}'>{NO_SIGNATURE.format('s2')}</s:XPath>"), False),
        (signature(f"<s:XPath>{NO_SIGNATURE.format('t')}</s:XPath>", declared=f"xmlns:t='{DS}'"), False),
        # The prefix means something else at the expression, at an element before it, or around it.
        (signature(f"<XPath xmlns='{DS}' xmlns:s='urn:x'>{NO_SIGNATURE.format('s')}</XPath>"), True),
        (signature(f"<s:XPath xmlns:t='{DS}'/><s:XPath>{NO_SIGNATURE.format('t')}</s:XPath>"), True),
        (
            signature(
                f"<s:XPath xmlns:t='urn:x'/><s:XPath>{NO_SIGNATURE.format('t')}</s:XPath>", declared=f"xmlns:t='{DS}'"
            ),
            False,
        ),
        (signature(f"<s:XPath xmlns:t='urn:x'>{NO_SIGNATURE.format('t')}</s:XPath>", declared=f"xmlns:t='{DS}'"), True),
        (signature(f"<s:XPath/><s:XPath>x</s:XPath><s:XPath>{NO_SIGNATURE.format('s')}</s:XPath>"), False),
        (signature(FILTER.format("subtract", "/descendant::s:Signature"), XPATH2_FILTER), False),
        (signature(FILTER.format("subtract", "//s:Signature"), XPATH2_FILTER), False),
        (signature(FILTER.format("intersect", "//s:Signature"), XPATH2_FILTER), True),
        (signature(FILTER.format("subtract", "//f:Signature"), XPATH2_FILTER), True),
        (signature(f"<s:XPath>{NO_SIGNATURE.format('s')}</s:XPath>", XPATH2_FILTER), True),
    ],
)
def test_an_expression_that_leaves_signatures_out(content: bytes, breaks: bool) -> None:
    assert broken(content) is breaks


def test_the_first_signature_that_would_break_is_named() -> None:
    good, bad = (signature(f"<s:XPath>{NO_SIGNATURE.format(prefix)}</s:XPath>") for prefix in "sx")
    root = etree.fromstring(b"<a>" + good + bad + good + bad + b"</a>")
    assert "signature 2 of the document" in (existing.broken_by_another(root, frozenset()) or "")


@pytest.mark.parametrize(
    "expression",
    [
        "<s:XPath/>",
        f"<s:XPath>{NO_SIGNATURE.format('p1')}</s:XPath>",
        f"<s:XPath>{NO_SIGNATURE.format('unknown')}</s:XPath>",
    ],
    ids=["empty", "another namespace", "no namespace"],
)
def test_expressions_do_not_multiply_with_namespaces(expression: str) -> None:
    """The namespaces in scope were collected for each expression: 990 of them made it a hundred times as slow."""

    def seconds(namespaces: int) -> float:
        declared = " ".join(f'xmlns:p{number}="urn:{number}"' for number in range(namespaces))
        root, best = etree.fromstring(signature(expression * 3000, declared=declared)), 1e9
        for _ in range(12):
            began = time.process_time()
            assert existing.broken_by_another(root, frozenset()) is not None
            best = min(best, time.process_time() - began)
        return best

    assert seconds(990) < 4 * seconds(2)


@pytest.mark.parametrize("length", [2000, 500])
def test_signatures_do_not_multiply_with_each_other(length: int) -> None:
    """Each has an expression to be judged."""

    def seconds(count: int) -> float:
        one, best = signature(f"<s:XPath>{NO_SIGNATURE.format('s')}</s:XPath>"), 1e9
        root = etree.fromstring(b"<a>" + one * count + b"</a>")
        for _ in range(4):
            began = time.process_time()
            assert existing.broken_by_another(root, frozenset()) is None
            best = min(best, time.process_time() - began)
        return best

    assert seconds(4 * length) < 4 * 3 * seconds(length)
