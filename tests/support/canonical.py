"""The canonical form as lxml makes it, to compare ours with, and what expat and lxml say of broken documents.

python -m tests.support.canonical --documents 1000000 --start 0
"""

import argparse
import io
import sys
import time
from collections.abc import Sequence
from typing import Any
from xml.parsers import expat

from lxml import etree
from tests.support.generated_xml import DS, damaged, document

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import CanonicalForm, CanonicalRefusal, CanonicalTask, canonical_form, digest_many

SIGNATURE = f"{{{DS}}}Signature"


def tree(data: bytes) -> "etree._ElementTree":
    """Raises etree.XMLSyntaxError."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, collect_ids=False)
    return etree.ElementTree(etree.fromstring(data, parser))


def canonical(
    parsed: "etree._ElementTree",
    *,
    with_comments: bool = False,
    without_signatures: bool = False,
    inclusive_prefixes: tuple[str, ...] = (),
) -> bytes:
    if without_signatures:
        for signature in list(parsed.iter(SIGNATURE)):
            take_out(signature)
    out = io.BytesIO()
    # lxml cannot be told "#default".
    prefixes = list(inclusive_prefixes) or None
    parsed.write_c14n(out, exclusive=True, with_comments=with_comments, inclusive_ns_prefixes=prefixes)
    return out.getvalue()


def take_out(element: "etree._Element") -> None:
    """The text behind it stays."""
    parent, before, behind = element.getparent(), element.getprevious(), element.tail
    if parent is None:
        return
    if behind and before is not None:
        before.tail = (before.tail or "") + behind
    elif behind:
        parent.text = (parent.text or "") + behind
    parent.remove(element)


def is_well_formed(data: bytes) -> bool:
    """By both parsers, the namespaces included."""
    try:
        tree(data)
        parser = expat.ParserCreate(None, "\n")
        parser.Parse(data, True)
    except (etree.XMLSyntaxError, expat.ExpatError, ValueError, LookupError):
        return False
    return True


def differences(seed: int) -> str:
    """How our canonical forms of one generated document differ from lxml's; empty if they do not."""
    data = document(seed)
    without_signatures = seed % 5 == 0 and tree(data).getroot().tag != SIGNATURE
    choice: dict[str, Any] = {
        "with_comments": seed % 2 == 0,
        "without_signatures": without_signatures,
        "inclusive_prefixes": (("a", "é"), ("ds", "b"), (), ())[seed // 2 % 4],
    }
    ours, theirs = canonical_form(CanonicalTask(data, **choice)), canonical(tree(data), **choice)
    return "" if ours == theirs else f"seed {seed}, {choice}: {data!r}\n  ours:   {ours!r}\n  theirs: {theirs!r}"


# What we refuse although it is well-formed, and what expat and lxml do not look at.
OUR_OWN = frozenset({"doctype", "version", "encoding", "relative_namespace", "duplicate_id", "namespace_ampersand"})


def misjudged(seed: int) -> str:
    """Whether a damaged document is taken for broken or sound by mistake, or has a wrong canonical form."""
    data = damaged(seed)
    found = canonical_form(CanonicalTask(data, with_comments=True))
    if isinstance(found, CanonicalRefusal):
        if found.code in OUR_OWN or not is_well_formed(data):
            return ""
        return f"seed {seed}: {data!r}\n  refused: {found}"
    if not is_well_formed(data):
        return f"seed {seed}: {data!r}\n  not refused: {found!r}"
    theirs = canonical(tree(data), with_comments=True)
    return "" if found == theirs else f"seed {seed}: {data!r}\n  ours:   {found!r}\n  theirs: {theirs!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--damaged", action="store_true", help="broken documents instead of sound ones")
    parser.add_argument("--kernel", help="the instruction set (default: the best one)")
    options = parser.parse_args()
    canonicaliser.use_kernels(options.kernel)
    started, wrong = time.monotonic(), 0
    for seed in range(options.start, options.start + options.documents):
        if problem := (misjudged if options.damaged else differences)(seed):
            print(problem, flush=True)
            wrong += 1
            if wrong == 20:
                break
    print(f"{seed + 1 - options.start} documents, {wrong} wrong, {time.monotonic() - started:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())


def forms(tasks: Sequence[CanonicalTask]) -> list[CanonicalForm]:
    """The canonical forms of documents of which none is refused."""
    made: list[CanonicalForm] = []
    for one in digest_many(tasks):
        assert isinstance(one, CanonicalForm), one
        made.append(one)
    return made
