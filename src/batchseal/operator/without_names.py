"""What a support bundle may say: nothing that could name a person or a document, since it may go to somebody who does not run the
service. `WithoutNames` leaves out the fields that hold such names, and masks them where a sentence quotes them.

Masked texts are those of the log (`--log-masked`), so that a line of the log and a bundle can be brought together.
"""

import re
from enum import Enum
from typing import Any

from batchseal.system.telemetry.logs import masked

PERSONAL = ("description", "external_reference", "name", "actor", "origin")
SENTENCES = ("cause", "detail")
# What stands in quotation marks. An apostrophe within a word begins none.
QUOTED = r"""(?<!\w)'[^']+'(?!\w)|"[^"]+\""""


class WithoutNames:
    """`masks_quotes`: whatever a sentence has in quotation marks is masked too, since a caller may have named it."""

    def __init__(self, key: bytes, *, masks_quotes: bool) -> None:
        self._key = key
        self._quoted = [QUOTED] if masks_quotes else []

    def of(self, value: Any, known: frozenset[str] = frozenset()) -> Any:
        """The value without names. `known` are those that the sentences in it may quote, beside those of its own fields."""
        if isinstance(value, dict):
            left_out = {name for name in PERSONAL if name in value and not is_event(value, name)}
            known |= {str(value[name]) for name in left_out} - {""}
            return {
                name: self._sentence(one, known) if name in SENTENCES else self.of(one, known)
                for name, one in value.items()
                if name not in left_out
            }
        if isinstance(value, list | tuple):
            return [self.of(one, known) for one in value]
        return value.name if isinstance(value, Enum) else value

    def _sentence(self, text: str, known: frozenset[str]) -> str:
        names = sorted(known | {repr(name)[1:-1] for name in known}, key=len, reverse=True)
        patterns = [*self._quoted, *(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names)]
        return re.sub("|".join(patterns), self._mask, text) if patterns else text

    def _mask(self, found: re.Match[str]) -> str:
        return masked(self._key, found[0].strip("'\""))


def is_event(value: dict[str, Any], name: str) -> bool:
    """Whether this is the name of an event, which names no document."""
    return name == "name" and "position" in value
