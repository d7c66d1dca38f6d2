"""What a signature needs to know of an XML document: the digest of its canonical form, and where the signature goes.

This is the one door to what reads XML. Behind it, the native canonicaliser reads a document once. Python's codecs transcode what
is not UTF-8 before that. lxml reads documents that have signatures, to judge whether one more would break them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from batchseal._native.canonicaliser import (
    CanonicalForm,
    CanonicalLimits,
    CanonicalRefusal,
    CanonicalTask,
    digest_many,
)
from batchseal.errors import DocumentUnsuitable
from batchseal.formats.interface import Memory, unbooked
from batchseal.formats.xades import existing, reading
from batchseal.formats.xades.location import Location, unusable
from batchseal.operation import SignError

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_BYTES = 32 << 20
# What a document takes, as copies of its bytes: while it is transcoded (UTF-8 takes three at most, and room to grow); the lists
# of the native canonicaliser, where they are longer than usual (declarations of short namespaces take most); and the tree of one
# that has signatures, which also takes NODE_BYTES for each node. Less than UNBOOKED_BYTES is part of what every request has.
READING_COPIES, LIST_COPIES, TREE_COPIES = 4, 24, 4
NODE_BYTES = 300
UNBOOKED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a document. `without_signatures`: every ds:Signature in it is left out of the canonical form.

    `keep_state`: the state of SHA-256 behind the canonical form is wanted, for an archive time stamp. `id_part`: which ids of the
    document are told (`CanonicalTask`).
    """

    location: Location
    digest_algorithm: str
    without_signatures: bool
    with_comments: bool
    keep_state: bool = False
    id_part: str | None = None


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

    `ids` are the values of attributes named Id, ID, id and xml:id that were asked for. `state` is a kept `Sha256State`, where one
    was wanted.
    """

    digest: bytes
    insertion: Insertion
    ids: frozenset[str]
    state: bytes = b""


Result = CanonicalDocument | DocumentUnsuitable


def canonicalise(documents: Sequence[tuple["Buffer", Wish]], memory: Memory = unbooked) -> list[Result]:
    """One result for each document, in order: what was asked, or why the document cannot be signed like this.

    A document that needs much memory takes it from `memory`. Raises what that raises.
    """
    results: list[Result | None] = [None] * len(documents)
    short: list[tuple[int, CanonicalTask]] = []
    for number, (content, wish) in enumerate(documents):
        size = memoryview(content).nbytes
        if size > MAX_BYTES:
            results[number] = DocumentUnsuitable(f"XML of more than {MAX_BYTES >> 20} MB cannot be signed")
        else:
            short.append((number, _task(content, wish)))
    found = digest_many([task for _, task in short])
    for (number, _), one in zip(short, found, strict=True):
        content, wish = documents[number]
        try:
            results[number] = _judged(content, wish, one, memory)
        except DocumentUnsuitable as problem:
            results[number] = problem
    return cast(list[Result], results)


def _task(content: "Buffer", wish: Wish, *, transcoded: bool = False) -> CanonicalTask:
    return CanonicalTask(
        content,
        steps=[(step.prefix, step.name, step.position) for step in wish.location.steps],
        anywhere=wish.location.anywhere,
        with_comments=wish.with_comments,
        without_signatures=wish.without_signatures,
        transcoded=transcoded,
        digest_algorithm=wish.digest_algorithm,
        keep_state=wish.keep_state,
        id_part=wish.id_part,
        brief=True,
    )


def _judged(
    content: "Buffer", wish: Wish, found: CanonicalForm | CanonicalRefusal, memory: Memory
) -> CanonicalDocument:
    size = memoryview(content).nbytes
    if isinstance(found, CanonicalRefusal) and found.code == "encoding":
        with _booked(memory, READING_COPIES * size):
            source = reading.read(content)
            (found,) = digest_many([_task(source.utf8, wish, transcoded=True)])
        # What follows books its own memory, UTF-8 included, so that a document never waits for what it has itself.
        return _document(source, content, wish, found, memory)
    bom_bytes = 3 if bytes(memoryview(content)[:3]) == reading.UTF8_BOM else 0
    return _document(reading.Source(b"", "utf-8", bom_bytes), content, wish, found, memory)


def _document(
    source: reading.Source,
    content: "Buffer",
    wish: Wish,
    found: CanonicalForm | CanonicalRefusal,
    memory: Memory,
) -> CanonicalDocument:
    """`source.utf8` is the document if it was transcoded."""
    if isinstance(found, CanonicalRefusal) and found.code == "limit_memory":
        with _long_lists(memory, memoryview(source.utf8 or content).nbytes) as limits:
            task = _task(source.utf8 or content, wish, transcoded=bool(source.utf8))
            (found,) = digest_many([task], limits)
    if isinstance(found, CanonicalRefusal):
        raise _refused(content, found)
    if found.match_count != 1:
        raise _not_one_match(wish.location, found)
    if found.signature_count:
        _judge_signatures(source.utf8 or content, found, memory)
    before_start = 0 if source.utf8 else source.bom_bytes  # what offsets count that `source` does not
    place = found.place - before_start
    removed, before, after = ("/", ">", f"</{found.parent}") if found.self_closed else ("", "", "")
    insertion = Insertion(source.original_offset(place), len(removed.encode(source.codec)), before, after, source.codec)
    return CanonicalDocument(found.digest, insertion, found.ids, found.state)


def _refused(content: "Buffer", found: CanonicalRefusal) -> DocumentUnsuitable:
    if bytes(memoryview(content)[:5]) == b"%PDF-":
        return DocumentUnsuitable("the content is PDF, not XML")
    where = f"line {found.line}, column {found.column}"
    if found.code == "not_well_formed":
        return DocumentUnsuitable(f"the content is not well-formed XML: {found.message}, {where}")
    return DocumentUnsuitable(found.message)


def _not_one_match(location: Location, found: CanonicalForm) -> DocumentUnsuitable:
    if found.match_count:
        shown = ", ".join(found.paths)
        return unusable(location.text, f"{found.match_count} elements match it, one is needed: {shown}")
    if found.match_in_signature:
        return unusable(location.text, "it lies inside an existing signature")
    return unusable(location.text, f"no element matches it; the root is {found.root[:80]!r}")


def _judge_signatures(utf8: "Buffer", found: CanonicalForm, memory: Memory) -> None:
    """The tree is booked before lxml builds it, and is no more when the booking ends."""
    with _booked(memory, tree_bytes(found, memoryview(utf8).nbytes)):
        broken = _broken_by_another(bytes(utf8), found.enclosing_ids)
    if broken is not None:
        raise DocumentUnsuitable(f"{broken}; a further signature would break it")


def _broken_by_another(utf8: bytes, enclosing_ids: frozenset[str]) -> str | None:
    """lxml is loaded here, since a document without signatures does not need it."""
    from lxml import etree

    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, collect_ids=False
    )
    try:
        return existing.broken_by_another(etree.fromstring(utf8, parser), enclosing_ids)
    except (etree.LxmlError, ValueError) as problem:
        raise DocumentUnsuitable(f"the content cannot be read: {problem}") from None


def tree_bytes(found: CanonicalForm, document_bytes: int) -> int:
    """The most memory that the tree of a document takes: structures for each node, whatever its kind, and the texts in it."""
    return NODE_BYTES * (found.nodes + found.further_nodes) + TREE_COPIES * document_bytes


@contextmanager
def _long_lists(memory: Memory, document_bytes: int) -> Iterator[CanonicalLimits]:
    """The limits with which a document is read whose ids, namespaces or signatures are more than usual."""
    needed_bytes = LIST_COPIES * document_bytes
    with _booked(memory, needed_bytes):
        yield CanonicalLimits(memory_bytes=needed_bytes)


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
