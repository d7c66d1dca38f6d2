"""How an entry of the audit trail is linked to the one before it, how it is written to a file, and how a chain is verified."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any

import msgspec

from batchseal.errors import ConfigurationError
from batchseal.store.rows import AuditEntry
from batchseal.store.trail import NO_LINK


class Event(IntEnum):
    """What an entry is about. The numbers are stored, so they must never change.

    While a rolling upgrade lasts, entries of an event that only one of the two releases knows are chained by that one
    (`writer.py`).
    """

    REGISTERED = 1  # its digest is computed from the documents as they arrived
    FINISHED = 2  # its digest is computed from the documents that were signed
    FETCHED = 3
    PURGED = 4
    ERASED = 5  # its texts were removed because an operator asked for it
    RECORDED = 6  # its digest is the root of the tree that the evidence record's time stamp is about; empty: nothing was signed
    RECORD_GIVEN_UP = 7  # no time stamp came for its evidence record
    RETRIED = 8  # an operator had failed documents signed again; `failed` says how many
    CANCELLED = 9  # an operator ended it; `failed` says how many documents that took
    PURGE_ASKED = 10  # an operator had its payload purged
    ACTED = 11  # an operator did something that is about no operation: `detail` says what
    RESUMED = 12  # an operator let it be signed, which was held after a restore


def name_of(event: int) -> str:
    """Raises ConfigurationError where only a later release, which runs beside this one, knows the event."""
    try:
        return Event(event).name
    except ValueError:
        raise ConfigurationError(f"the audit trail has an event that only a later release knows: {event}") from None


def content(entry: AuditEntry) -> list[Any]:
    """Everything in an entry except its link, in the order in which it is digested.

    Stored links depend on it: never change it. Only what a person did has the last three. Raises ConfigurationError.
    """
    acted = [entry.actor, entry.origin, entry.detail] if entry.actor or entry.origin or entry.detail else []
    return [
        entry.position,
        entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        entry.operation_id,
        entry.month.isoformat(),
        entry.signed,
        entry.failed,
        name_of(entry.event),
        entry.client_service,
        entry.digest.hex(),
        entry.credential.hex(),
        *acted,
    ]


NAMES = (
    *("position", "at", "operation", "month", "signed", "failed", "event", "clientService", "documentsDigest"),
    *("credential", "actor", "origin", "detail"),
)


def make_link(previous: bytes, entry: AuditEntry) -> bytes:
    """The link of an entry: SHA-256 over the link before it and the entry as a JSON array."""
    return hashlib.sha256(previous + msgspec.json.encode(content(entry))).digest()


def as_line(entry: AuditEntry) -> bytes:
    """The entry as one line of JSON, as exports contain it."""
    return msgspec.json.encode(dict(zip(NAMES, content(entry), strict=False)) | {"link": entry.link.hex()}) + b"\n"


def of_line(line: bytes) -> AuditEntry:
    """The entry that a line of an export contains. Raises ValueError or msgspec.DecodeError if it contains none."""
    fields = msgspec.json.decode(line)
    try:
        for name in ("position", "operation", "signed", "failed"):
            if type(fields[name]) is not int:
                raise ValueError(f"not an entry: {name} is no whole number")
        return AuditEntry(
            fields["position"],
            datetime.fromisoformat(fields["at"]),
            fields["operation"],
            date.fromisoformat(fields["month"]),
            fields["signed"],
            fields["failed"],
            Event[fields["event"]],
            fields["clientService"],
            bytes.fromhex(fields["documentsDigest"]),
            bytes.fromhex(fields["credential"]),
            bytes.fromhex(fields["link"]),
            *(str(fields.get(name, "")) for name in ("actor", "origin", "detail")),
        )
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"not an entry: {problem}") from None


class Verifier:
    """Takes the entries of a chain one after the other. `problems` says where the chain is broken, and `acknowledged` where it is
    up to the entry `accepted`.

    `position` and `link` are those of the last entry before the first one that it takes. `seen` is told of each entry, and
    `stamped` of each line of an export that holds a time stamp; it returns False for a line that holds none.
    """

    def __init__(
        self,
        position: int = 0,
        link: bytes = NO_LINK,
        *,
        seen: Callable[[int, bytes], None] = lambda position, link: None,
        stamped: Callable[[dict[str, Any], bytes], bool] = lambda fields, link: False,
    ) -> None:
        self._seen = seen
        self._stamped = stamped
        self.position = position
        self.link = link
        self.began_after = position
        self.entries = 0
        self.problems: list[str] = []
        self.accepted = 0
        self.acknowledged: list[str] = []
        self._known: tuple[int, bytes] | None = None

    def comparing(self, position: int, link: bytes) -> "Verifier":
        """This verifier, which knows what link an entry had before."""
        self._known = position, link
        return self

    def take(self, entry: AuditEntry) -> None:
        """Checks the next entry."""
        problems = self.problems if entry.position > self.accepted else self.acknowledged
        if entry.position != self.position + 1:
            problems.append(f"entry {self.position + 1} is missing: {entry.position} follows {self.position}")
        if make_link(self.link, entry) != entry.link:
            problems.append(f"entry {entry.position} or the one before it was changed")
        if self._known is not None and self._known[0] == entry.position and self._known[1] != entry.link:
            self.problems.append(f"entry {entry.position} had another link when the chain was last verified")
        self.position, self.link = entry.position, entry.link
        self.entries += 1
        self._seen(entry.position, entry.link)

    async def take_all(self, entries: AsyncIterator[AuditEntry]) -> None:
        """Checks entries from the database."""
        async for entry in entries:
            self.take(entry)

    def take_lines(self, lines: Iterable[bytes], name: str) -> None:
        """Checks the lines of an export. `name` is the name of the file, for the problems."""
        for number, line in enumerate(lines, 1):
            try:
                if not self._stamped(msgspec.json.decode(line), self.link):
                    self.take(of_line(line))
            except (ValueError, msgspec.DecodeError) as problem:
                self.problems.append(f"{name}, line {number}: {problem}")


def documents_digest(digests: Iterable[bytes]) -> bytes:
    """One digest for all documents of an operation: SHA-256 over their digests, in their order."""
    return hashlib.sha256(b"".join(digests)).digest()
