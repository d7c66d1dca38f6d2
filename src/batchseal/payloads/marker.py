"""The marker of a place that instances share: whose payloads lie there.

It is written once, by the first instance of a database (`orphans.claim`). Whoever stores or misses a payload looks at it: a
volume that is not mounted has none, and another volume, or a prefix that was given away, has that of another database.
"""

from uuid import UUID

import msgspec

from batchseal.errors import PayloadsOfAnother, PayloadUnavailable

MARKER = "database.json"
# Whoever stores payloads looks again after so long. Until then a place that was right counts as right.
LOOK_SECONDS = 2.0


class Marker(msgspec.Struct, frozen=True):
    """The content of the marker."""

    database: UUID


def read_marker(content: bytes | None) -> UUID | None:
    """The database that a marker names; None where there is no marker. Raises PayloadUnavailable."""
    try:
        return msgspec.json.decode(content, type=Marker).database if content is not None else None
    except msgspec.MsgspecError:
        raise PayloadUnavailable(f"{MARKER} of the payload store is not what was written there") from None


def require_marker(content: bytes | None, database: UUID | None) -> None:
    """Raises PayloadUnavailable where there is no marker, PayloadsOfAnother where it does not name `database`.

    With None, any marker will do. Callers over HTTP may read the cause, so it names neither the place nor a database.
    """
    found = read_marker(content)
    if found is None:
        raise PayloadUnavailable(f"the payload store has no {MARKER}")
    if database is not None and found != database:
        raise PayloadsOfAnother(
            "the payload store belongs to another database than this one; batchseal check says more"
        )
