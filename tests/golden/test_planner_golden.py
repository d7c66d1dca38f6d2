"""The exact bytes of three updates. A change here changes every signed document: read the difference before accepting it."""

from pathlib import Path

import pytest
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table

from batchseal._native.planner import PlannedUpdate, plan

FOLDER = Path(__file__).parent
FORM = {7: text_field(b"(name)"), 8: b"<</Fields[7 0 R]/DA(/Helv 0 Tf)>>"}
SOURCES = {
    "planner_table": lambda: with_table(document(), trailer=b"/ID[<0011><2233>]"),
    "planner_stream": lambda: with_stream(
        document(form=b"8 0 R", annots=b"[7 0 R]", extra=FORM), compressed=[1, 4, 7, 8], level=0
    ),
    "planner_hybrid": lambda: hybrid(document(form=b"8 0 R", extra=FORM), [7, 8], level=0),
}


@pytest.mark.parametrize("name", SOURCES)
def test_updates_are_as_they_were(name: str) -> None:
    update = plan(
        SOURCES[name](), contents_bytes=8, reason="Razão (1)", location="Oeiras", signing_time="D:20261121120000Z"
    )
    assert isinstance(update, PlannedUpdate)
    text = update.head + b"<" + b"0" * (update.reserved_bytes - 2) + b">" + update.tail
    golden = FOLDER / f"{name}.bin"
    assert text == golden.read_bytes()
