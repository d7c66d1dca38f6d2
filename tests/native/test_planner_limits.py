"""The planner's limits of memory, time and output hold on every route, whatever comes in."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.validators.samples import document, with_stream, with_table
from tests.support.pdf_bombs import BOMBS, BOMBS_OF_FIELDS, check, cost

from batchseal._native.planner import PlannedUpdate, PlanRefusal, memory_bound, plan, update_bound

SIZE = 2 << 20
# What must not be refused: these cost nothing unusual for their size.
HARMLESS = {"empty subsections", "first letters", "tiny tables", "LZW codes"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("size", [64 << 10, SIZE])
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_stays_within_the_bounds(name: str, size: int, folder: Path) -> None:
    original = BOMBS[name](size)
    found = cost(original, folder)
    check(original, found)
    if name in HARMLESS:
        assert found.code == ""


@pytest.mark.parametrize("size", [64 << 10, SIZE])
@pytest.mark.parametrize("name", sorted(BOMBS_OF_FIELDS))
def test_the_search_of_a_field_stays_within_the_bounds(name: str, size: int, folder: Path) -> None:
    original = BOMBS_OF_FIELDS[name](size)
    found = cost(original, folder, "s")
    check(original, found)
    if name == "named fields":
        assert found.code == ""


def test_the_bound_of_memory_is_in_proportion_and_ends() -> None:
    assert [memory_bound(size) for size in (0, 1000, 16 << 20)] == [14 << 20, (14 << 20) + 6000, 110 << 20]
    assert memory_bound(1 << 40) == 128 << 20
    assert [update_bound(size) for size in (0, 1000, 1 << 40)] == [64 << 10, (64 << 10) + 2000, 64 << 20]


def test_a_caller_may_allow_less_memory() -> None:
    original = with_stream(document(catalog=b"/X(" + b"x" * 300_000 + b")"), compressed=[1])
    refusal = plan(original, contents_bytes=100, signing_time="D:2026", max_memory_bytes=300_000)
    assert isinstance(refusal, PlanRefusal)
    assert refusal.code == "limit_memory"
    more = plan(original, contents_bytes=100, signing_time="D:2026", max_memory_bytes=4_000_000)
    assert not isinstance(more, PlanRefusal) or more.code == "limit_update"


def test_texts_of_the_caller_do_not_count_against_the_document() -> None:
    update = plan(with_table(document()), contents_bytes=100, signing_time="D:2026", reason="\x80" * 250_000)
    assert isinstance(update, PlannedUpdate)
    assert len(update.tail) > 1_000_000


def test_a_repair_lists_what_is_used_and_leaves_out_numbers_that_are_far_away() -> None:
    objects = document() | {70_000: b"(far)"}
    spread = plan(with_table(objects).partition(b"xref")[0], contents_bytes=100, signing_time="D:2026")
    assert isinstance(spread, PlannedUpdate)
    assert spread.rebuilt
    assert b"\n70000 5\n" in spread.tail  # with the four new objects behind it
    assert len(spread.tail) < 2_000
    last = b"8388607 0 obj\n(last)\nendobj\n"
    without = plan(with_table(document()).partition(b"xref")[0] + last, contents_bytes=100, signing_time="D:2026")
    assert isinstance(without, PlannedUpdate)
    assert b"8388607" not in without.tail


def test_the_last_of_objects_with_one_number_counts_after_a_repair() -> None:
    page = b"<</Type/Page/Parent 3 0 R/Marker(last)>>"
    original = with_table(document()).partition(b"xref")[0] + b"4 0 obj\n%s\nendobj\n" % page
    update = plan(original, contents_bytes=100, signing_time="D:2026")
    assert isinstance(update, PlannedUpdate)
    assert b"/Marker(last)" in update.tail
    compressed = with_stream(document(), compressed=[1, 2, 3, 4])
    cut = compressed[: compressed.rindex(b"startxref")] + b"4 0 obj\n%s\nendobj\n" % page
    update = plan(cut, contents_bytes=100, signing_time="D:2026")
    assert isinstance(update, PlannedUpdate)
    assert b"/Marker(last)" in update.tail
