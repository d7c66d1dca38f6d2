"""Visible signatures in PDF: from what a caller wants to see to what the planner draws, for the documents of one batch.

The appearance is made once for all documents that show the same, and once more for those that demand one of another kind
(PDF/A), or whose field has another size. The signature must meet what an existing field demands. The words of places are looked
for before (`placeholder`).
"""

from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from batchseal._native import planner
from batchseal.document import Credential, Description, Refusal
from batchseal.errors import VisibleSignatureImpossible
from batchseal.formats.interface import Memory, unbooked
from batchseal.formats.pades.encryption import Planned
from batchseal.operation import VISIBLE_CODE, SignError
from batchseal.signature import LocationType, SignatureLook, SignaturePlace
from batchseal.visible import velocity

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from batchseal.formats.appearance.cache import Appearances

# The planner's refusals that lie in the visible signature and not in the document alone.
NOT_DRAWN = frozenset(
    {
        *("no_such_page", "outside_page", "field_missing", "field_signed", "field_type", "field_twice", "field_lock"),
        "appearance_size",
    }
)
# An appearance is made for the size of the field, then for the rules of the document. The first one stands for any: a field
# that is not drawn on takes it, and any other one tells its size.
MOST_TRIES = 3
SIZELESS = planner.Appearance([(b"", None, False)], rules=0, width=-1, height=-1)
# A pixel of an image while it is encoded: as it was decoded, with its colours apart from its transparency, and as it is written.
DECODED_PIXEL_BYTES, UNBOOKED_BYTES = 16, 1 << 20
# Names whose texts differ among the documents of a batch.
VARYING = frozenset({"reason", "location"})

# A plan, and the streams that the document shares with others, in the order of `inserted`.
Drawn = tuple[planner.PlannedUpdate | planner.PlanRefusal, tuple[bytes, ...]]


def position(place: SignaturePlace) -> dict[str, Any]:
    """Where the signature stands, as `planner.plan` takes it. Raises VisibleSignatureImpossible if nobody has looked for it."""
    if place.kind is LocationType.SIGN_FIELD:
        return {"field": place.name, "yields": place.keeps_look}
    if place.is_sought:
        raise VisibleSignatureImpossible("the word of the place was not looked for")
    return {"page": place.page, "x": place.x, "y": place.y, "is_upper_left": place.in_user_space}


def offers(wanted: Description) -> Refusal | None:
    """Why a visible signature cannot be had, without looking at the document; None where it can."""
    if wanted.visible_signature is None:
        return not_drawn("an earlier release has stored this document without what it should show")
    return None


def not_drawn(cause: str) -> Refusal:
    return Refusal(SignError.NOT_DRAWABLE, f"{VISIBLE_CODE}: {cause}")


class Drawing:
    """Draws the visible signatures of one batch. `signing_time` is the date that they show.

    A large image takes the memory in which it is decoded from `memory`.
    """

    def __init__(self, credential: Credential, signing_time: datetime, memory: Memory = unbooked) -> None:
        self._memory = memory
        self._credential = credential
        self._signing_time = signing_time
        # What the documents before demanded is tried first: those of a batch are mostly alike.
        self._rules = 0
        # The size of the field in which a look was drawn last, by its identity.
        self._areas: dict[int, tuple[float, float]] = {}
        self._made: dict[tuple[object, ...], planner.Appearance] = {}

    @property
    def shared_bytes(self) -> int:
        """What the largest appearance that was made shares among documents."""
        return max((sum(map(len, one.shared)) for one in self._made.values()), default=0)

    def plan(self, content: "Buffer", wanted: Description, plan: "Callable[..., Planned]") -> Drawn | Refusal:
        """The plan for a document whose signature is visible; `plan` is `planner.plan` without what is drawn."""
        assert wanted.visible_signature is not None
        place, look = wanted.visible_signature.place, wanted.visible_signature.look
        if place.missing:
            # A document that cannot be signed at all is refused for that.
            planned = plan()
            return (planned, ()) if isinstance(planned, planner.PlanRefusal) else not_drawn(place.missing)
        area = self._areas.get(id(look)) if place.kind is LocationType.SIGN_FIELD else None
        try:
            placed = partial(plan, **position(place))
            for _ in range(MOST_TRIES):
                is_sizeless = area is None and place.kind is LocationType.SIGN_FIELD
                appearance = SIZELESS if is_sizeless else self._appearance(wanted, area)
                planned = placed(appearance=appearance)
                if isinstance(planned, planner.OtherRules):
                    self._rules = planned.rules
                elif isinstance(planned, planner.OtherArea):
                    area = planned.width, planned.height
                else:
                    break
        except VisibleSignatureImpossible as problem:
            return not_drawn(problem.cause)
        if isinstance(planned, (planner.OtherRules, planner.OtherArea)):
            raise AssertionError("a document demands the same each time")
        if isinstance(planned, planner.PlanRefusal):
            return not_drawn(planned.message) if planned.code in NOT_DRAWN else (planned, ())
        if (unmet := self._unmet_demand(planned, wanted)) is not None:
            return unmet
        if area is not None:
            self._areas[id(look)] = area
        return planned, appearance.shared if planned.inserted else ()

    def _unmet_demand(self, planned: planner.PlannedUpdate, wanted: Description) -> Refusal | None:
        """Why the signature is not what its field demands; None where it is."""
        if not planned.seed_values:
            return None
        from batchseal.formats.pades.existing_field import SignatureFacts, unmet_demand

        credential = self._credential
        facts = SignatureFacts(wanted.level, credential.digest_algorithm, wanted.reason, credential.chain)
        cause = unmet_demand(planned.seed_values, facts)
        return not_drawn(cause) if cause is not None else None

    def _appearance(self, wanted: Description, area: tuple[float, float] | None) -> planner.Appearance:
        assert wanted.visible_signature is not None
        look = wanted.visible_signature.look
        key = id(look), wanted.reason, wanted.location, self._rules, area
        if key not in self._made:
            self._made[key] = self._make(_sized(look, area), wanted)
        return self._made[key]

    def _make(self, look: SignatureLook, wanted: Description) -> planner.Appearance:
        # What draws is loaded with the first document that is to show something.
        from batchseal.formats.appearance.values import template_values

        values = template_values(self._credential.chain[0], self._signing_time, wanted.reason, wanted.location)
        varies = bool(velocity.names(look.template) & VARYING)
        decoded_bytes = DECODED_PIXEL_BYTES * look.picture.width * look.picture.height if look.picture else 0
        with self._memory(decoded_bytes) if decoded_bytes > UNBOOKED_BYTES else nullcontext():
            return _appearances().appearance(look, velocity.fill(look.template, values), self._rules, varies=varies)


def _sized(look: SignatureLook, area: tuple[float, float] | None) -> SignatureLook:
    return look if area is None else replace(look, width=area[0], height=area[1])


def _appearances() -> "Appearances":
    from batchseal.formats.appearance.cache import APPEARANCES

    return APPEARANCES
