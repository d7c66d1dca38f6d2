"""The appearances, font subsets and images that were made last, by what they were made of.

A batch mostly has one appearance. What is kept has a limit in bytes, and what was not used for longest goes first.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

import structlog

from batchseal._native import planner
from batchseal.formats.appearance import font, image
from batchseal.formats.appearance.layout import clean, lay_out
from batchseal.formats.appearance.plan import make
from batchseal.signature import SignatureLook
from batchseal.visible import velocity

MOST_BYTES = 8 << 20
# Digits and what stands around them: a date that changes needs no other subset.
DATE_CHARACTERS = "0123456789-: UTC"
ASCII = "".join(map(chr, range(32, 127)))
# What is kept beside the bytes: keys, lists and numbers.
ENTRY_BYTES = 2048

T = TypeVar("T")

log = structlog.get_logger("appearance")


class Kept:
    """Values by key, the ones that were used last. Several threads may use it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.kept_bytes = 0

    def get(self, key: Hashable, make_value: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of a key, which is made if it is not there. Two threads may make the same."""
        with self._lock:
            if (found := self._values.get(key)) is not None:
                self._values.move_to_end(key)
                return found[0]  # type: ignore[no-any-return]
        value = make_value()
        value_bytes = size(value) + ENTRY_BYTES
        with self._lock:
            if key not in self._values and value_bytes <= self._most_bytes:
                self._values[key] = value, value_bytes
                self.kept_bytes += value_bytes
                while self.kept_bytes > self._most_bytes:
                    _, (_, freed_bytes) = self._values.popitem(last=False)
                    self.kept_bytes -= freed_bytes
        return value


class Appearances:
    """Makes appearances, and keeps them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._kept = Kept(most_bytes)

    def appearance(self, look: SignatureLook, text: str, rules: int, *, varies: bool) -> planner.Appearance:
        """The appearance of a look whose template has become `text`. `varies`: that text differs from document to document.

        Raises VisibleSignatureImpossible.
        """
        return self._kept.get(
            (look, text, rules), lambda: self._make(look, text, rules, varies=varies), _appearance_bytes
        )

    def _make(self, look: SignatureLook, text: str, rules: int, *, varies: bool) -> planner.Appearance:
        name, is_known = font.named(look.font_name)
        if not is_known:
            log.info("a font is not known, another one is taken", wanted=look.font_name[:40], taken=name)
        used = font.load(name)
        layout = lay_out(look, clean(text, used), used)
        picture = None
        if look.picture is not None:
            is_opaque = bool(rules & planner.RULE_OPAQUE)
            # Where there is a soft mask, the background does not matter.
            background = look.background if is_opaque else None
            source = look.picture
            picture = self._kept.get(
                (source, is_opaque, background),
                lambda: image.encode(source, is_opaque=is_opaque, background=background),
                lambda one: len(source.content) + len(one.data) + (len(one.mask.data) if one.mask else 0),
            )

        def subset(characters: str) -> font.Subset:
            more = ASCII if varies else DATE_CHARACTERS if "date" in velocity.names(look.template) else ""
            wanted = frozenset(characters + more)
            return self._kept.get((name, wanted), lambda: used.subset(wanted), lambda one: len(one.program))

        return make(look, layout, used, picture, rules, subset)


# Those of this process.
APPEARANCES = Appearances()


def _appearance_bytes(appearance: planner.Appearance) -> int:
    return sum(len(entries) + len(stream or b"") for entries, stream, _ in appearance.objects)
