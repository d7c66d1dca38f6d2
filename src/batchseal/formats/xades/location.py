"""The parent of a signature as a caller names it (`signatureLocation`). The native canonicaliser looks for it in the document.

A location is nothing (the root), a name (`ExtensionContent`, `ext:ExtensionContent`), or a path of steps from the root
(`/Invoice/ext:UBLExtensions/ext:UBLExtension[1]/ext:ExtensionContent`); `//` before the first step stands for any depth. A name
without a prefix fits elements of any namespace. A prefix stands for the namespace that it has at the element in question.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from batchseal.errors import DocumentUnsuitable
from batchseal.operation import SignError

MAX_CHARACTERS = 1000
MAX_STEPS = 64
_NAME = r"[^\W\d][\w.\-]*"
# A name test with an optional position; the long form is what XPath needs for "any namespace".
_STEP = re.compile(
    rf"(?:\*\[\s*local-name\(\)\s*=\s*(?P<quote>['\"])(?P<local>{_NAME})(?P=quote)\s*\]"
    rf"|(?:(?P<prefix>{_NAME}):)?(?P<name>{_NAME}|\*))"
    r"(?:\[\s*(?P<position>[1-9]\d{0,5})\s*\])?"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `name` is `*` for any. `position` counts, from 1, the elements of one parent that fit."""

    prefix: str | None
    name: str
    position: int | None

    def fits(self, local: str, namespace: str, scope: Mapping[str, list[str]]) -> bool:
        """Whether an element of this name fits; `scope` has the namespaces of each prefix, the one in force last."""
        if self.name not in ("*", local):
            return False
        return self.prefix is None or (self.prefix in scope and scope[self.prefix][-1:] == [namespace])


@dataclass(frozen=True, slots=True)
class Location:
    """Where the signature goes. Without steps it is the root. `anywhere`: the first step may be at any depth."""

    text: str = ""
    steps: tuple[Step, ...] = ()
    anywhere: bool = False


ROOT = Location()
NOTHING: tuple[int, ...] = ()


def parse(text: str) -> Location:
    """The location that `text` names. Raises DocumentUnsuitable."""
    wanted = text.strip()
    if not wanted:
        return ROOT
    if len(wanted) > MAX_CHARACTERS:
        raise unusable(wanted, f"it is longer than {MAX_CHARACTERS} characters")
    return _parsed(wanted)


@lru_cache(maxsize=64)  # the documents of a request nearly always name the same location
def _parsed(wanted: str) -> Location:
    anywhere = not wanted.startswith("/") or wanted.startswith("//")
    steps: list[Step] = []
    at = len(wanted) - len(wanted.lstrip("/"))
    if at > 2:
        raise unusable(wanted, "it begins with more than two slashes")
    if at == 0 and re.match(rf"(?:{_NAME}:)?{_NAME}/", wanted):
        raise unusable(wanted, "a path begins with a slash")
    while True:
        step = _STEP.match(wanted, at)
        if step is None or len(steps) == MAX_STEPS:
            raise unusable(wanted, "it is neither a name nor a path of names such as /Invoice/ext:UBLExtensions")
        position = step["position"]
        steps.append(Step(step["prefix"], step["local"] or step["name"], int(position) if position else None))
        at = step.end()
        if at == len(wanted):
            return Location(wanted, tuple(steps), anywhere)
        if wanted[at] != "/":
            raise unusable(wanted, f"{wanted[at:][:40]!r} in it is not understood")
        at += 1


def unusable(text: str, why: str) -> DocumentUnsuitable:
    return DocumentUnsuitable(f"signatureLocation {text[:100]!r}: {why}", SignError.CONFIGURATION_SIGN_ERROR)
