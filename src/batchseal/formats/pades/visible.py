"""Visible signatures in PDF: from what a caller wants to see to what the planner draws, for the documents of one batch.

Where the signature stands is found by `locate`, which is the seam for places that lie in the document. The appearance is made
once for all documents that show the same, and once more for those that demand one of another kind (PDF/A).
"""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from batchseal._native import planner
from batchseal.document import Credential, Description, Refusal
from batchseal.errors import VisibleSignatureImpossible
from batchseal.formats.interface import Memory, unbooked
from batchseal.operation import VISIBLE_CODE, SignError
from batchseal.signature import LocationType, SignatureLook, SignaturePlace
from batchseal.visible import velocity

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from batchseal.formats.appearance.cache import Appearances

# The planner's refusals that lie in the visible signature and not in the document alone.
NOT_DRAWN = frozenset({"no_such_page", "outside_page"})
# A pixel of an image while it is encoded: as it was decoded, with its colours apart from its transparency, and as it is written.
DECODED_PIXEL_BYTES, UNBOOKED_BYTES = 16, 1 << 20
# Names whose texts differ among the documents of a batch.
VARYING = frozenset({"reason", "location"})

Planned = planner.PlannedUpdate | planner.OtherRules | planner.PlanRefusal
# A plan, and the streams that the document shares with others, in the order of `inserted`.
Drawn = tuple[planner.PlannedUpdate | planner.PlanRefusal, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Position:
    """Where an area stands, as the planner takes it (`planner.plan`)."""

    page: int
    x: float
    y: float
    is_upper_left: bool = False


def locate(place: SignaturePlace, content: "Buffer") -> Position:
    """Where the area stands in this document. Raises VisibleSignatureImpossible where the document has no such place."""
    if place.kind is LocationType.COORDINATE:
        return Position(place.page, place.x, place.y)
    raise VisibleSignatureImpossible(f"a signature in a place of type {place.kind.name} is not offered yet")


def offers(wanted: Description) -> Refusal | None:
    """Why a visible signature cannot be had, without looking at the document; None where it can."""
    if wanted.visible_signature is None:
        return not_drawn("an earlier release has stored this document without what it should show")
    if (kind := wanted.visible_signature.place.kind) is not LocationType.COORDINATE:
        return not_drawn(f"a signature in a place of type {kind.name} is not offered yet")
    return None


def not_drawn(cause: str) -> Refusal:
    return Refusal(SignError.NOT_DRAWABLE, f"{VISIBLE_CODE}: {cause}")


class Drawing:
    """Draws the visible signatures of one batch. `signing_time` is the date that they show.

    A large image takes the memory in which it is decoded from `memory`.
    """

    def __init__(self, credential: Credential, signing_time: datetime, memory: Memory = unbooked) -> None:
        self._memory = memory
        self._certificate = credential.chain[0]
        self._signing_time = signing_time
        # What the documents before demanded is tried first: those of a batch are mostly alike.
        self._rules = 0
        self._made: dict[tuple[int, str | None, str | None, int], planner.Appearance] = {}

    def plan(self, content: "Buffer", wanted: Description, plan: "Callable[..., Planned]") -> Drawn | Refusal:
        """The plan for a document whose signature is visible; `plan` is `planner.plan` without what is drawn."""
        assert wanted.visible_signature is not None
        try:
            at = locate(wanted.visible_signature.place, content)
            appearance = self._appearance(wanted, wanted.visible_signature.look)
            planned = plan(appearance=appearance, page=at.page, x=at.x, y=at.y, is_upper_left=at.is_upper_left)
            if isinstance(planned, planner.OtherRules):
                self._rules = planned.rules
                appearance = self._appearance(wanted, wanted.visible_signature.look)
                planned = plan(appearance=appearance, page=at.page, x=at.x, y=at.y, is_upper_left=at.is_upper_left)
        except VisibleSignatureImpossible as problem:
            return not_drawn(problem.cause)
        if isinstance(planned, planner.PlannedUpdate):
            return planned, appearance.shared if planned.inserted else ()
        if isinstance(planned, planner.OtherRules):
            raise AssertionError("a document demands the same rules each time")
        return not_drawn(planned.message) if planned.code in NOT_DRAWN else (planned, ())

    def _appearance(self, wanted: Description, look: SignatureLook) -> planner.Appearance:
        key = id(look), wanted.reason, wanted.location, self._rules
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._make(look, wanted)
        return found

    def _make(self, look: SignatureLook, wanted: Description) -> planner.Appearance:
        # What draws is loaded with the first document that is to show something.
        from batchseal.formats.appearance.values import template_values

        values = template_values(self._certificate, self._signing_time, wanted.reason, wanted.location)
        varies = bool(velocity.names(look.template) & VARYING)
        decoded_bytes = DECODED_PIXEL_BYTES * look.picture.width * look.picture.height if look.picture else 0
        with self._memory(decoded_bytes) if decoded_bytes > UNBOOKED_BYTES else nullcontext():
            return _appearances().appearance(look, velocity.fill(look.template, values), self._rules, varies=varies)


def _appearances() -> "Appearances":
    from batchseal.formats.appearance.cache import APPEARANCES

    return APPEARANCES
