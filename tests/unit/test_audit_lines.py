"""Whatever stands in an export, its verification names the line and goes on."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from batchseal.audit.chain import Event, Verifier, as_line, make_link
from batchseal.audit.tokens import stamp_in
from batchseal.store.rows import AuditEntry
from batchseal.store.trail import NO_LINK

ENTRY = AuditEntry(1, datetime.now(UTC), 7, date(2026, 1, 1), 0, 0, Event.REGISTERED, "A", b"", b"", b"")
GOOD = as_line(replace(ENTRY, link=make_link(NO_LINK, ENTRY)))
TEXT_FOR_A_NUMBER = GOOD.replace(b'"position":1', b'"position":"1"')


@pytest.mark.parametrize(
    "line", [b"5", b"null", b'"text"', b"[]", b"{}", b"not JSON", b'{"timeStamp":5}', TEXT_FOR_A_NUMBER]
)
def test_a_line_that_is_no_entry(line: bytes) -> None:
    verifier = Verifier(stamped=lambda fields, link: stamp_in(fields) is not None)
    verifier.take_lines([line, GOOD], "audit-2026-01.jsonl")
    (problem,) = verifier.problems
    assert problem.startswith("audit-2026-01.jsonl, line 1: ") and verifier.entries == 1
