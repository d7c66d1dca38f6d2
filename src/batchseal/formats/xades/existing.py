"""Signatures that a document has already: whether one more would break them, and the document without them. For trees of lxml."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from batchseal.formats.xades.names import DS, XPATH, XPATH2_FILTER

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SIGNATURE = f"{{{DS}}}Signature"
REFERENCES = f"{{{DS}}}SignedInfo/{{{DS}}}Reference"
TRANSFORMS = f"{{{DS}}}Transforms/{{{DS}}}Transform"
WHOLE_DOCUMENT = frozenset({"", "#xpointer(/)"})


def broken_by_another(root: "Element", enclosing_ids: frozenset[str]) -> str | None:
    """Why a further signature would break one that is there; None where it would not.

    `enclosing_ids` are the ids of the elements that the further signature is put into. What cannot be judged counts as broken.
    """
    for number, signature in enumerate(root.iter(SIGNATURE), 1):
        for reference in signature.iterfind(REFERENCES):
            if _covers(reference.get("URI"), enclosing_ids) and not _leaves_signatures_out(reference):
                return (
                    f"signature {number} of the document covers all that is added to it"
                    f" (its reference {(reference.get('URI') or '')[:60]!r} leaves no other signature out)"
                )
    return None


def _covers(uri: str | None, enclosing_ids: frozenset[str]) -> bool:
    if uri is None or uri in WHOLE_DOCUMENT:
        return True
    if not uri.startswith("#"):
        return False  # another file
    name = uri[1:].removeprefix("xpointer(id(").removesuffix("))").strip("'\"")
    return name in enclosing_ids or "(" in name


def _leaves_signatures_out(reference: "Element") -> bool:
    """Whether a transform leaves out every signature of the document, by one of the two expressions that are in common use."""
    for transform in reference.iterfind(TRANSFORMS):
        algorithm = transform.get("Algorithm")
        if algorithm == XPATH:
            expressions: Iterable[Any] = transform.iterfind(f"{{{DS}}}XPath")
            wanted = "not(ancestor-or-self::{}:Signature)"
        elif algorithm == XPATH2_FILTER:
            expressions = [e for e in transform.iterfind(f"{{{XPATH2_FILTER}}}XPath") if e.get("Filter") == "subtract"]
            wanted = "/descendant::{}:Signature"
        else:
            continue
        for expression in expressions:
            text = "".join((expression.text or "").split()).replace("//", "/descendant::")
            prefixes = [prefix for prefix, uri in expression.nsmap.items() if uri == DS and prefix]
            if any(text == wanted.format(prefix) for prefix in prefixes):
                return True
    return False


def without_signatures(root: "Element") -> None:
    """Takes every signature out of the tree. The text behind each stays."""
    for signature in list(root.iter(SIGNATURE)):
        parent = signature.getparent()
        if parent is None or next(signature.iterancestors(SIGNATURE), None) is not None:
            continue  # it goes with the signature that it is in
        behind, before = signature.tail, signature.getprevious()
        if behind and before is not None:
            before.tail = (before.tail or "") + behind
        elif behind:
            parent.text = (parent.text or "") + behind
        parent.remove(signature)
