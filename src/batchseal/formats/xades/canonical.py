"""What a signature needs to know of an XML document: the digest of its canonical form, and where the signature goes.

This is the one door to what reads XML. Behind it, expat looks at the structure and lxml makes the canonical form (Exclusive XML
Canonicalization 1.0). Whatever takes their place has the same results and refuses the same documents.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchseal.errors import DocumentUnsuitable
from batchseal.formats.interface import Memory, unbooked
from batchseal.formats.xades import existing, reading
from batchseal.formats.xades.location import Location
from batchseal.formats.xades.scan import Place, Structure, scan
from batchseal.operation import SignError

if TYPE_CHECKING:
    from lxml.etree import _ElementTree
    from typing_extensions import Buffer

# A tree of a document takes several times its size in memory.
MAX_BYTES = 32 << 20
# What a document takes: while it is read (the bytes, their text, UTF-8), for each element or attribute of its tree, and for the
# texts in that. Less than UNBOOKED_BYTES is part of what every request has.
READING_COPIES, NODE_BYTES, TREE_COPIES = 3, 300, 2
UNBOOKED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a document. `without_signatures`: every ds:Signature in it is left out of the canonical form."""

    location: Location
    digest_algorithm: str
    without_signatures: bool
    with_comments: bool


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where a text goes into the original: at `offset` it replaces `removed_bytes`, between `before` and `after`, in `codec`."""

    offset: int
    removed_bytes: int
    before: str
    after: str
    codec: str


@dataclass(frozen=True, slots=True)
class CanonicalDocument:
    """`digest` is that of the canonical form, without what is inserted.

    `prefixes` are the namespaces in scope at the insertion, `ids` all values of attributes named Id, ID, id and xml:id, and
    `signatures` the ranges of signatures that are there already, in bytes of the UTF-8 form of the document without its byte
    order mark.
    """

    digest: bytes
    insertion: Insertion
    prefixes: Mapping[str, str]
    ids: frozenset[str]
    signatures: Sequence[tuple[int, int]]


def canonicalise(
    documents: Sequence[tuple["Buffer", Wish]], memory: Memory = unbooked
) -> list[CanonicalDocument | DocumentUnsuitable]:
    """One result for each document, in order: what was asked, or why the document cannot be signed like this.

    A document that needs much memory takes it from `memory`. Raises what that raises.
    """
    results: list[CanonicalDocument | DocumentUnsuitable] = []
    for content, wish in documents:
        try:
            results.append(_canonical(content, wish, memory))
        except DocumentUnsuitable as problem:
            results.append(problem)
    return results


def _canonical(content: "Buffer", wish: Wish, memory: Memory) -> CanonicalDocument:
    size = memoryview(content).nbytes
    if size > MAX_BYTES:
        raise DocumentUnsuitable(f"XML of more than {MAX_BYTES >> 20} MB cannot be signed")
    with _booked(memory, READING_COPIES * size):
        source = reading.read(content)
        structure = scan(source.utf8, wish.location)
        with _booked(memory, NODE_BYTES * structure.nodes + TREE_COPIES * size):
            digest = _digest(source.utf8, structure, wish)
    assert structure.place is not None
    return CanonicalDocument(
        digest, _insertion(source, structure.place), structure.prefixes, frozenset(structure.ids), structure.signatures
    )


@contextmanager
def _booked(memory: Memory, needed_bytes: int) -> Iterator[None]:
    if needed_bytes <= UNBOOKED_BYTES:
        yield
        return
    with memory(needed_bytes) as granted:
        if granted < needed_bytes:
            needed = f"needs {needed_bytes >> 20} MB of memory, more than this service has"
            raise DocumentUnsuitable(f"preparing the document {needed}", SignError.SIGN_OPERATION_INTERNAL_ERROR)
        yield


def _insertion(source: reading.Source, place: Place) -> Insertion:
    return Insertion(
        source.original_offset(place.offset),
        len(place.removed.encode(source.codec)),
        place.before,
        place.after,
        source.codec,
    )


def _digest(utf8: bytes, structure: Structure, wish: Wish) -> bytes:
    """Blocking. lxml is loaded here, since a process that signs no XML does not need it."""
    from lxml import etree

    # The declaration may name the encoding of the original, so this one is said. The limits are those of `scan`.
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, collect_ids=False
    )
    try:
        root = etree.fromstring(utf8, parser)
        if structure.signatures:
            if (problem := existing.broken_by_another(root, structure.enclosing_ids)) is not None:
                raise DocumentUnsuitable(f"{problem}; a further signature would break it")
            if wish.without_signatures:
                existing.without_signatures(root)
        return _tree_digest(root.getroottree(), wish)
    except (etree.LxmlError, ValueError) as problem:
        raise DocumentUnsuitable(f"the content has no canonical form: {problem}") from None


class _Sink:
    """A file for lxml to write to, of which only the digest is kept."""

    def __init__(self, algorithm: str) -> None:
        self.state = hashlib.new(algorithm)

    def write(self, data: Any) -> int:
        self.state.update(data)
        return len(data)


def _tree_digest(tree: "_ElementTree", wish: Wish) -> bytes:
    sink = _Sink(wish.digest_algorithm)
    tree.write_c14n(sink, exclusive=True, with_comments=wish.with_comments)
    return sink.state.digest()
