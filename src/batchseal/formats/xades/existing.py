"""Signatures that a document has already: whether one more would break them. For trees of lxml."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from batchseal.formats.xades.names import DS, XPATH, XPATH2_FILTER

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SIGNATURE = f"{{{DS}}}Signature"
REFERENCES = f"{{{DS}}}SignedInfo/{{{DS}}}Reference"
TRANSFORMS = f"{{{DS}}}Transforms/{{{DS}}}Transform"
XPATH_EXPRESSION, FILTER_EXPRESSION = f"{{{DS}}}XPath", f"{{{XPATH2_FILTER}}}XPath"
WHOLE_DOCUMENT = frozenset({"", "#xpointer(/)"})
# The expressions in common use that leave out every signature of a document, around the prefix of its name.
NO_SIGNATURE = ("not(ancestor-or-self::", ":Signature)")
ALL_SIGNATURES = ("/descendant::", ":Signature")


def broken_by_another(root: "Element", enclosing_ids: frozenset[str]) -> str | None:
    """Why a further signature would break one that is there; None where it would not.

    `enclosing_ids` are the ids of the elements that the further signature is put into. What cannot be judged counts as broken.
    """
    covering = [
        (number, reference.get("URI") or "", list(_fitting(reference)))
        for number, signature in enumerate(root.iter(SIGNATURE), 1)
        for reference in signature.iterfind(REFERENCES)
        if _covers(reference.get("URI"), enclosing_ids)
    ]
    right = _with_right_prefix(
        root, {expression: prefix for _, _, fitting in covering for expression, prefix in fitting}
    )
    for number, uri, fitting in covering:
        if not any(expression in right for expression, _ in fitting):
            return (
                f"signature {number} of the document covers all that is added to it"
                f" (its reference {uri[:60]!r} leaves no other signature out)"
            )
    return None


def _covers(uri: str | None, enclosing_ids: frozenset[str]) -> bool:
    if uri is None or uri in WHOLE_DOCUMENT:
        return True
    if not uri.startswith("#"):
        return False  # another file
    name = uri[1:].removeprefix("xpointer(id(").removesuffix("))").strip("'\"")
    return name in enclosing_ids or "(" in name


def _fitting(reference: "Element") -> Iterator[tuple["Element", str]]:
    """The expressions of a reference that leave out every signature, if their prefix stands for XML signatures."""
    for transform in reference.iterfind(TRANSFORMS):
        algorithm = transform.get("Algorithm")
        if algorithm == XPATH:
            expressions, (before, behind) = list(transform.iterfind(XPATH_EXPRESSION)), NO_SIGNATURE
        elif algorithm == XPATH2_FILTER:
            expressions = [e for e in transform.iterfind(FILTER_EXPRESSION) if e.get("Filter") == "subtract"]
            before, behind = ALL_SIGNATURES
        else:
            continue
        for expression in expressions:
            text = "".join((expression.text or "").split()).replace("//", "/descendant::")
            prefix = text.removeprefix(before).removesuffix(behind)
            if prefix and text == f"{before}{prefix}{behind}":
                yield expression, prefix


def _with_right_prefix(root: "Element", expressions: Mapping["Element", str]) -> set["Element"]:
    """Those whose prefix stands for XML signatures where they are.

    One walk follows the declarations of the whole document. lxml's `nsmap` collects all of them for each element anew.
    """
    if not expressions:
        return set()
    from lxml import etree

    right: set[Element] = set()
    meanings: dict[str, list[bool]] = {}  # of each prefix, the one in force last
    declared: list[str] = []
    tags: Sequence[str] = (XPATH_EXPRESSION, FILTER_EXPRESSION)
    for event, value in etree.iterwalk(root, events=("start", "start-ns", "end-ns"), tag=tags):
        if event == "start-ns":
            prefix, uri = value
            meanings.setdefault(prefix, []).append(uri == DS)
            declared.append(prefix)
        elif event == "end-ns":
            meanings[declared.pop()].pop()
        elif value in expressions and meanings.get(expressions[value], [])[-1:] == [True]:
            right.add(value)
    return right
