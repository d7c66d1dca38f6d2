"""The parent of a signature as a caller names it (`signatureLocation`), and the search for it while a document is read.

A location is nothing (the root), a name (`ExtensionContent`, `ext:ExtensionContent`), or a path of steps from the root
(`/Invoice/ext:UBLExtensions/ext:UBLExtension[1]/ext:ExtensionContent`); `//` before the first step stands for any depth. A name
without a prefix fits elements of any namespace. A prefix stands for the namespace that it has at the element in question.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

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


class Search:
    """Follows the elements of a document, and says of each whether the location names it."""

    def __init__(self, location: Location) -> None:
        self._steps = location.steps
        self._anywhere = location.anywhere
        # Most elements are told by their local name alone.
        names = {step.name for step in location.steps}
        self._locals = None if "*" in names else frozenset(names)
        # For each open element: how many steps end at it, in each way in which they do.
        self._open: list[tuple[int, ...]] = [(0,)]
        # For each open element: how many of its children fitted a step, by the number of that step.
        self._counts: list[dict[int, int] | None] = [None]

    def enter(self, local: str, namespace: str, scope: Mapping[str, list[str]]) -> bool:
        """Call it at each start tag. Whether this element is named."""
        begun = self._open[-1]
        if self._locals is not None and local not in self._locals:
            self._open.append(NOTHING)
            self._counts.append(None)
            return False
        if self._anywhere and 0 not in begun:
            begun = (*begun, 0)
        reached = []
        for done in begun:
            if done < len(self._steps) and self._steps[done].fits(local, namespace, scope):
                position = self._steps[done].position
                if position is None or self._count(done) == position:
                    reached.append(done + 1)
        self._open.append(tuple(reached))
        self._counts.append(None)
        return len(self._steps) in reached

    def leave(self) -> None:
        """Call it at each end tag."""
        self._open.pop()
        self._counts.pop()

    def _count(self, step: int) -> int:
        counts = self._counts[-1]
        if counts is None:
            counts = self._counts[-1] = {}
        counts[step] = counts.get(step, 0) + 1
        return counts[step]
