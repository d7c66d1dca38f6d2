"""Cursors of lists: where a page ends, as a text that goes through an address and comes back."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from batchseal.errors import ValueNotAllowed
from batchseal.store.columns import is_storable

MAX_ID = (1 << 63) - 1
MAX_ORDINAL = (1 << 31) - 1


def encode_cursor(*parts: int | str) -> str:
    """The cursor with these parts."""
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The parts of a cursor, of these types. Raises ValueNotAllowed for a text that is no such cursor."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or [type(part) for part in parts] != list(kinds):
        raise ValueNotAllowed("the cursor of the list is not one that a list has given")
    for part in parts:
        if (isinstance(part, int) and not 0 <= part <= MAX_ID) or (isinstance(part, str) and not is_storable(part)):
            raise ValueNotAllowed("the cursor of the list is not one that a list has given")
    return tuple(parts)


def after_prefix(prefix: str) -> str | None:
    """The first text behind all that begin with `prefix`, by code points; None if there is none.

    PostgreSQL's collation "C" compares UTF-8 by bytes, which is the order of code points.
    """
    while prefix:
        last = ord(prefix[-1])
        prefix = prefix[:-1]
        if last == 0xD7FF:  # surrogates are no characters
            return prefix + "\ue000"
        if last < 0x10FFFF:
            return prefix + chr(last + 1)
    return None
