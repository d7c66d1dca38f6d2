"""One pass over an XML document without building a tree: its limits, and what a signature must know of its structure.

Expat checks well-formedness, also that of namespaces. It holds no more than the open elements, so a document that is refused here
has cost little. Nothing is ever fetched, and no entity is declared, since a document with a DOCTYPE is refused at its first byte.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.parsers import expat

from batchseal.errors import DocumentUnsuitable
from batchseal.formats.xades.location import Location, Search, unusable
from batchseal.formats.xades.names import DS

MAX_DEPTH = 256
MAX_ATTRIBUTES = 1_000  # of one element, its namespace declarations not counted
MAX_NAMESPACES = 1_000  # that are declared at the same time
MAX_TAG_BYTES = 1 << 20
PIECE_BYTES = 256 << 10
# Elements and attributes. A tree takes about 300 bytes for each, so this bounds what a document costs that is let through.
MAX_NODES = 500_000

MAX_NAMES = 10_000  # of elements, that are kept to be found again

# Expat joins namespace, local name and prefix with it. It cannot stand in a URI.
SEPARATOR = "\n"
XML_ID = f"http://www.w3.org/XML/1998/namespace{SEPARATOR}id"
IDS = frozenset({"Id", "ID", "id", XML_ID})
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s]*\Z")
# A start tag. `>` may stand in attribute values, `<` may not (XML 1.0 3.1).
START_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
TAG_NAME = re.compile(rb"<([^\s/>]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text goes in: at `offset` it replaces `removed`, and stands between `before` and `after`."""

    offset: int
    removed: str = ""
    before: str = ""
    after: str = ""


class Name(NamedTuple):
    """The name of an element; `written` is how it stands in its tags."""

    local: str
    namespace: str
    written: str


@dataclass(slots=True)
class Structure:
    """What was seen of a document. Offsets are in bytes of the UTF-8 text.

    `signatures` are the ranges of the outermost ds:Signature elements. `enclosing_ids` are the ids of the elements that the place
    is in. `prefixes` are the namespaces that are in scope there.
    """

    place: Place | None = None
    prefixes: dict[str, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    enclosing_ids: frozenset[str] = frozenset()
    signatures: list[tuple[int, int]] = field(default_factory=list)
    nodes: int = 0  # elements and attributes


def scan(utf8: bytes, location: Location) -> Structure:
    """Raises DocumentUnsuitable, with the line and column of the fault where there is one."""
    return _Scan(utf8, location).run()


class _Scan:
    def __init__(self, utf8: bytes, location: Location) -> None:
        self._utf8 = utf8
        self._location = location
        self._search = Search(location) if location.steps else None
        self._found = Structure()
        self._scope: dict[str, list[str]] = {"xml": ["http://www.w3.org/XML/1998/namespace"]}
        self._namespaces = self._nodes = 0
        self._open: list[Name] = []
        self._open_ids: list[tuple[str, ...]] = []  # of each open element
        self._names: dict[str, Name] = {}  # by what expat calls an element; most elements have one of a few names
        self._matches: list[str] = []  # the paths of elements that the location names
        self._match_start = self._match_depth = 0
        self._in_signature = self._signature_start = 0  # depth of the outermost open signature, 0 outside
        self._matched_in_signature = False
        self._parser = parser = expat.ParserCreate("utf-8", SEPARATOR)
        parser.namespace_prefixes = True
        parser.ordered_attributes = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._namespace
        parser.EndNamespaceDeclHandler = self._end_namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def run(self) -> Structure:
        try:
            self._parse()
        except expat.ExpatError as problem:
            what = expat.ErrorString(problem.code)
            raise DocumentUnsuitable(
                f"the content is not well-formed XML: {what}, line {problem.lineno}, column {problem.offset + 1}"
            ) from None
        if len(self._matches) != 1:
            raise self._not_one_match()
        self._found.nodes = self._nodes
        return self._found

    def _parse(self) -> None:
        """In pieces: expat holds a whole tag, and Python an object for each attribute of it, before any handler is asked."""
        view = memoryview(self._utf8)
        for start in range(0, len(view), PIECE_BYTES):
            self._parser.Parse(view[start : start + PIECE_BYTES], False)
            if start + PIECE_BYTES - self._parser.CurrentByteIndex > MAX_TAG_BYTES:
                raise DocumentUnsuitable(
                    f"a tag, comment or processing instruction is longer than {MAX_TAG_BYTES >> 20} MB"
                )
        self._parser.Parse(b"", True)

    def _not_one_match(self) -> DocumentUnsuitable:
        if self._matches:
            shown = ", ".join(self._matches[:3])
            return unusable(self._location.text, f"{len(self._matches)} elements match it, one is needed: {shown}")
        if self._matched_in_signature:
            return unusable(self._location.text, "it lies inside an existing signature")
        return unusable(self._location.text, f"no element matches it; the root is {self._root!r}")

    # --- expat's handlers ---------------------------------------------------------------------------------------------

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if version != "1.0":
            raise DocumentUnsuitable(f"the document is XML {version[:10]}; only XML 1.0 is signed")

    def _doctype(self, *_: Any) -> None:
        raise DocumentUnsuitable("the document has a DOCTYPE, which is not signed: verifiers read it differently")

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        if uri and ABSOLUTE.match(uri) is None:
            raise DocumentUnsuitable(f"the namespace {uri[:80]!r} is not an absolute URI")
        self._namespaces += 1
        if self._namespaces > MAX_NAMESPACES:
            raise DocumentUnsuitable(f"more than {MAX_NAMESPACES} namespaces are declared at the same time")
        self._scope.setdefault(prefix or "", []).append(uri or "")

    def _end_namespace(self, prefix: str | None) -> None:
        self._namespaces -= 1
        self._scope[prefix or ""].pop()

    def _start(self, name: str, attributes: list[str]) -> None:
        found = self._names.get(name) or self._name(name)
        self._open.append(found)
        depth = len(self._open)
        self._nodes += 1
        ids: tuple[str, ...] = ()
        if attributes:
            self._nodes += len(attributes) // 2
            if len(attributes) > 2 * MAX_ATTRIBUTES:
                raise DocumentUnsuitable(f"an element has more than {MAX_ATTRIBUTES} attributes")
            ids = self._ids(attributes)
        self._open_ids.append(ids)
        if depth > MAX_DEPTH:
            raise DocumentUnsuitable(f"elements are nested more than {MAX_DEPTH} deep")
        if self._nodes > MAX_NODES:
            raise DocumentUnsuitable(f"the document has more than {MAX_NODES} elements and attributes")
        if depth == 1:
            self._root = found.written
        if found.local == "Signature" and self._in_signature == 0 and found.namespace == DS:
            self._in_signature, self._signature_start = depth, self._parser.CurrentByteIndex
        if depth == 1 if self._search is None else self._search.enter(found.local, found.namespace, self._scope):
            self._match(depth)

    def _name(self, name: str) -> Name:
        """The name of an element that expat calls `name`: namespace, local name and prefix, as far as it has them."""
        namespace, _, rest = name.rpartition(SEPARATOR) if name.count(SEPARATOR) < 2 else name.partition(SEPARATOR)
        local, _, prefix = rest.partition(SEPARATOR)
        found = Name(local, namespace, f"{prefix}:{local}" if prefix else local)
        if len(self._names) < MAX_NAMES:
            self._names[name] = found
        return found

    def _match(self, depth: int) -> None:
        if self._in_signature:
            self._matched_in_signature = True
            return
        self._matches.append("/" + "/".join(name.written for name in self._open))
        if len(self._matches) == 1:
            self._match_start, self._match_depth = self._parser.CurrentByteIndex, depth
            self._found.prefixes = {prefix: uris[-1] for prefix, uris in self._scope.items() if uris and uris[-1]}
            self._found.enclosing_ids = frozenset(one for ids in self._open_ids for one in ids)

    def _end(self, name: str) -> None:
        depth = len(self._open)
        if depth == self._match_depth:
            self._match_depth = 0
            self._found.place = self._place(self._match_start, self._parser.CurrentByteIndex)
        if depth == self._in_signature:
            self._in_signature = 0
            self._found.signatures.append((self._signature_start, self._behind(self._signature_start)))
        self._open.pop()
        self._open_ids.pop()
        if self._search is not None:
            self._search.leave()

    def _ids(self, attributes: list[str]) -> tuple[str, ...]:
        found = []
        for at in range(0, len(attributes), 2):
            name = attributes[at]
            if name in IDS or name.startswith(XML_ID):
                value = attributes[at + 1].strip()
                if value in self._found.ids:
                    # Two elements with one id are what signature wrapping is made of.
                    raise DocumentUnsuitable(f"the id {value[:80]!r} occurs twice")
                self._found.ids.add(value)
                found.append(value)
        return tuple(found)

    # --- places in the text -------------------------------------------------------------------------------------------

    def _place(self, start: int, end: int) -> Place:
        """The end of the content of an element whose start tag is at `start`. `end` is where expat saw its end."""
        tag = START_TAG.match(self._utf8, start)
        assert tag is not None
        if not tag[0].endswith(b"/>"):
            return Place(end)
        opened = TAG_NAME.match(tag[0])
        assert opened is not None
        # `<a/>` becomes `<a>…</a>`: the slash is replaced, and the bracket behind it stays.
        return Place(tag.end() - 2, removed="/", before=">", after=f"</{opened[1].decode()}")

    def _behind(self, start: int) -> int:
        """The place behind the element that starts at `start` and ends here."""
        tag = START_TAG.match(self._utf8, start)
        assert tag is not None
        if tag[0].endswith(b"/>"):
            return tag.end()
        return self._utf8.index(b">", self._parser.CurrentByteIndex) + 1
