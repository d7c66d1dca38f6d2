"""How `batchseal operations` shows what it found: tables for people, JSON for programs, CSV for spreadsheets."""

import csv
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any, TextIO

from batchseal.store.operator_rows import DocumentLine, Done, Event, OperationDetail, OperationLine, UpstreamCall

# A spreadsheet takes a cell that begins so for a formula. An apostrophe makes it a text (OWASP, CSV injection).
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
LONGEST = 60  # characters of a cell in a table

RESULTS = {
    "unknown": "there is no such operation",
    "unfinished": "it is not finished",
    "finished": "it is finished",
    "signed": "all of its documents are signed",
    "purged": "its documents are no longer stored",
    "fetched": "its result was fetched, and its caller was told that it failed for good; --also-fetched opens it again",
    "callers token": "it is signed with the caller's own token, which is never stored: the caller must hand it in again",
    "nothing to retry": "the fault lies in the documents themselves; --everything tries them all the same",
    "not held": "it is not held",
    "ending": "all of its documents have ended, and it ends by itself",
}
DONE = {
    "retry": "{} documents are signed again",
    "cancel": "{} documents are cancelled",
    "purge": "its documents are deleted",
    "resume": "{} documents will be signed",
}


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def jsonable(value: Any) -> Any:
    """The value with the names of its states in place of their numbers."""
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, Mapping):
        return {name: jsonable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one) for one in value]
    return value


def line_of_json(value: Any) -> str:
    """A line of JSON for an object of `operator_rows`."""
    return json.dumps(jsonable(_as_dict(value)), default=_plain, ensure_ascii=False, separators=(",", ":"))


def _as_dict(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {one.name: _as_dict(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_as_dict(one) for one in value]
    return value


def csv_cell(value: Any) -> str:
    """The value as a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, IntEnum):
        return str(value)
    text = (
        value.name if isinstance(value, IntEnum) else value.isoformat() if isinstance(value, datetime) else str(value)
    )
    return f"'{text}" if text.startswith(FORMULAS) else text


def write_csv(file: TextIO, lines: Sequence[OperationLine], *, head: bool) -> None:
    """Writes operations as CSV (RFC 4180), with a line of names before them if `head` is true."""
    writer = csv.writer(file)
    names = [one.name for one in fields(OperationLine)]
    if head:
        writer.writerow(names)
    for line in lines:
        writer.writerow([csv_cell(getattr(line, name)) for name in names])


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text. What others sent is shown without control characters, and cut where it is long; its last column is not."""
    shown = [[*map(_cell, row[:-1]), printable(row[-1])] for row in (names, *rows)]
    widths = [max(len(row[at]) for row in shown) for at in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def _cell(text: str) -> str:
    clean = printable(text)
    return clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"


def printable(text: str) -> str:
    """The text without what a terminal would take for a command."""
    return "".join("�" if unicodedata.category(one)[0] == "C" else one for one in text)


def shown_time(at: datetime | None) -> str:
    """To the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else "-"


def operations_table(lines: Sequence[OperationLine]) -> str:
    names = (
        "ID",
        "RECEIVED (UTC)",
        "CLIENT SERVICE",
        "REFERENCE",
        "MODE",
        "STATUS",
        "SIGNED",
        "FAILED",
        "OF",
        "TRIES",
        "FETCHED",
    )
    return table(
        names,
        [
            (
                str(line.id),
                shown_time(line.created_at),
                line.client_service,
                line.external_reference,
                line.mode.name.lower(),
                line.status.name,
                str(line.documents_signed),
                str(line.documents_failed),
                str(line.documents_total),
                str(line.tries),
                "purged" if line.payload_purged else "yes" if line.fetched_at else "no",
            )
            for line in lines
        ],
    )


def detail_text(found: OperationDetail, documents: Sequence[DocumentLine]) -> str:
    """One operation, for people."""
    line = found.line
    facts = [
        ("operation", str(line.id)),
        ("client service", line.client_service),
        ("reference", line.external_reference),
        ("description", found.description),
        ("mode", line.mode.name.lower()),
        (
            "status",
            line.status.name + (f", held since the restore of {shown_time(line.held_at)}" if line.is_held else ""),
        ),
        ("documents", f"{line.documents_signed} signed, {line.documents_failed} failed, of {line.documents_total}"),
        ("received", shown_time(line.created_at)),
        ("finished", shown_time(line.finished_at)),
        ("fetched", shown_time(line.fetched_at)),
        ("next try", f"{shown_time(line.next_try_at)} after {line.tries} tries"),
        (
            "payload",
            "purged" if line.payload_purged else f"{line.stored_bytes} bytes, purged at {shown_time(line.purge_at)}",
        ),
        ("instance", str(line.instance)),
        ("evidence record", found.evidence_record),
    ]
    parts = ["\n".join(f"{name + ':':17}{printable(text)}" for name, text in facts)]
    if found.events:
        parts.append("Time line\n" + events_table(found.events))
    if found.calls:
        parts.append("Sign calls\n" + calls_table(found.calls))
    if found.failures:
        rows = [(str(group.documents), group.label, group.cause) for group in found.failures]
        parts.append("Failures\n" + table(("DOCUMENTS", "ERROR", "CAUSE"), rows))
    if documents:
        parts.append("Documents\n" + documents_table(documents))
    return "\n\n".join(parts)


def events_table(events: Sequence[Event]) -> str:
    rows = [
        (
            shown_time(event.at),
            event.name,
            str(event.signed),
            str(event.failed),
            " ".join(filter(None, (event.actor, event.origin and f"({event.origin})", event.detail))),
        )
        for event in events
    ]
    return table(("AT (UTC)", "EVENT", "SIGNED", "FAILED", "BY"), rows)


def calls_table(calls: Sequence[UpstreamCall]) -> str:
    rows = [
        (shown_time(call.at), str(call.digests), str(call.milliseconds), call.outcome, call.cause) for call in calls
    ]
    return table(("AT (UTC)", "DIGESTS", "MS", "OUTCOME", "CAUSE"), rows)


def documents_table(documents: Sequence[DocumentLine]) -> str:
    rows = [
        (
            str(one.ordinal),
            one.external_reference,
            one.name,
            one.status.name,
            str(one.content_bytes),
            str(one.tries),
            one.sign_error,
            one.cause,
        )
        for one in documents
    ]
    return table(("NO", "REFERENCE", "NAME", "STATUS", "BYTES", "TRIES", "ERROR", "CAUSE"), rows)


def done_text(action: str, done: Done) -> str:
    """What became of an operation, as a sentence."""
    said = DONE[action].format(done.documents) if done.result == "done" else RESULTS.get(done.result, done.result)
    return f"Operation {done.operation_id}: {said}."
