"""When a file is ready, and when the ready files of a folder are due."""

from dataclasses import replace

import pytest

from batchseal.entries.content import Content
from batchseal.entries.files import Seen
from batchseal.entries.hot_folder import Due, Rules, parts
from batchseal.entries.looks import Looks, Ready
from batchseal.operation import ContentType
from batchseal.settings import cron
from batchseal.settings.load import OPTIONS

IGNORED = str(OPTIONS["hot_folder_ignore"].default).split()
PDF = Content(ContentType.PDF)
UNFINISHED = Content(ContentType.PDF, "the end of the PDF is missing")


def file(path: str, size: int = 10, time: int = 1) -> Seen:
    return Seen(path, size, time, time, 1)


def names(ready: list[Ready]) -> list[str]:
    return [one.file.path for one in ready]


def test_a_file_is_ready_when_it_stands_still_over_two_looks() -> None:
    looks = Looks("still", IGNORED, 600)
    assert looks.look([file("a")], 1.0, lambda _: PDF) == []
    assert looks.look([file("a", size=20)], 2.0, lambda _: PDF) == []
    assert looks.look([replace(file("a", size=20), change_ns=7)], 3.0, lambda _: PDF) == [], "its times were set back"
    assert looks.look([replace(file("a", size=20), change_ns=7, inode=2)], 4.0, lambda _: PDF) == []
    (ready,) = looks.look([replace(file("a", size=20), change_ns=7, inode=2)], 5.0, lambda _: PDF)
    assert (ready.came_at, ready.announcement) == (1.0, None)
    assert looks.oldest_came_at == 1.0


def test_a_file_without_its_end_is_waited_for_and_then_taken() -> None:
    looks, judged = Looks("still", IGNORED, 600), list[float]()
    now = 0.0

    def judge(_: Seen) -> Content:
        judged.append(now)
        return UNFINISHED

    taken = None
    while taken is None and now < 700:
        now += 1.0
        if looks.look([file("a.pdf")], now, judge):
            taken = now
    assert taken == 601.0
    assert len(judged) <= 130, "it is not read at each look"
    # One that changes is waited for anew.
    assert looks.look([file("a.pdf", time=2)], 602.0, judge) == []
    assert looks.look([file("a.pdf", time=2)], 603.0, judge) == []
    now = 609.0
    (ready,) = looks.look([file("a.pdf", time=2)], now, lambda _: PDF)
    assert ready.file == file("a.pdf", time=2)


def test_empty_and_unreadable_files_are_left_alone() -> None:
    looks = Looks("still", IGNORED, 600)
    for now in (1.0, 2.0, 3.0):
        assert looks.look([file("empty", size=0), file("closed")], now, lambda _: None) == []
    assert looks.unreadable == {"closed"}


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        *((name, True) for name in (".hidden", "~$fatura.docx", "fatura.pdf~", "a.TMP", "a.part", "a.filepart")),
        *((name, True) for name in ("Thumbs.db", "THUMBS.DB", "desktop.ini", ".batchseal")),
        *((name, False) for name in ("fatura.pdf", "tmp", "a.tmp.pdf", "parts", "~fatura.pdf", "$a")),
    ],
)
def test_temporary_names_are_left_alone(name: str, ignored: bool) -> None:
    assert Looks("still", IGNORED, 600).is_ignored(name) is ignored


def test_a_file_may_be_announced_by_another_one() -> None:
    looks = Looks("done", IGNORED, 600)
    assert looks.look([file("a.pdf"), file("b.pdf.done", size=0)], 1.0, lambda _: PDF) == []
    done = file("a.pdf.done", size=0)
    (ready,) = looks.look([file("a.pdf"), done, file("c.pdf")], 2.0, lambda _: UNFINISHED)
    assert (ready.file.path, ready.announcement) == ("a.pdf", done), "whoever says that it is done is believed"


def test_what_announced_another_file_of_this_name_does_not_announce_this_one() -> None:
    looks, stale = Looks("done", IGNORED, 600), file("a.pdf.done", size=0, time=5)
    for now, time in ((1.0, 6), (599.0, 6), (602.0, 7)):
        assert looks.look([file("a.pdf", time=time), stale], now, lambda _: PDF) == []
    assert names(looks.look([file("a.pdf", time=7), file("a.pdf.done", 0, time=7)], 603.0, lambda _: PDF)) == ["a.pdf"]
    assert names(looks.look([file("a.pdf", time=7), stale], 1202.0, lambda _: PDF)) == ["a.pdf"], (
        "it is not left for ever"
    )


def test_a_file_may_be_ready_with_its_name() -> None:
    looks = Looks("rename", IGNORED, 600)
    assert names(looks.look([file("a.pdf")], 1.0, lambda _: UNFINISHED)) == ["a.pdf"]


def test_those_that_came_first_are_first_and_a_new_one_of_the_same_name_is_new() -> None:
    looks = Looks("still", IGNORED, 600)
    looks.look([file("b")], 1.0, lambda _: PDF)
    looks.look([file("b"), file("a")], 2.0, lambda _: PDF)
    assert names(looks.look([file("a"), file("b")], 3.0, lambda _: PDF)) == ["b", "a"]
    looks.forget(["b"])
    looks.look([file("a"), file("b", time=9)], 4.0, lambda _: PDF)
    assert names(looks.look([file("a"), file("b", time=9)], 5.0, lambda _: PDF)) == ["a", "b"]


# --- due ----------------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def due(**changes: object) -> tuple[Due, Clock]:
    clock = Clock()
    rules = Rules(
        threshold=3,
        cron=cron.parse("0 * * * * *"),
        flush=300,
        flush_at_cron=False,
        look=1,
        ready_by="still",
        ignored=(),
        unfinished=600,
        output_days=0,
        backup_days=0,
    )
    return Due(replace(rules, **changes), clock), clock  # type: ignore[arg-type]


def test_as_many_as_the_threshold_are_taken_at_the_times_of_the_cron_expression() -> None:
    one, clock = due()
    clock.now = 59.9
    assert not one.is_due(1000, 1)
    clock.now = 60.5
    assert one.is_due(3, 1)
    assert not one.is_due(3, 1), "once for each time"
    clock.now = 121.0
    assert not one.is_due(2, 1)
    clock.now = 130.0
    assert not one.is_due(3, 1), "a time that has passed does not come back"


def test_fewer_are_taken_after_the_flush_time_at_any_look() -> None:
    one, clock = due()
    clock.now = 10.0
    assert not one.is_due(1, 299)
    assert one.is_due(1, 300)
    assert not one.is_due(0, 300)


def test_the_flush_may_wait_for_the_cron_expression_and_may_be_off() -> None:
    one, clock = due(flush_at_cron=True)
    clock.now = 10.0
    assert not one.is_due(1, 1000)
    clock.now = 60.0
    assert one.is_due(1, 1000)
    off, clock = due(flush=0)
    clock.now = 60.0
    assert not off.is_due(2, 1e9)


def test_batches_end_with_so_many_files_or_bytes() -> None:
    ready = [Ready(file(str(n), size=10), ContentType.PDF, 0.0) for n in range(7)]
    assert [len(part) for part in parts(ready, 3)] == [3, 3, 1]
    assert [len(part) for part in parts(ready, 100, most_bytes=25)] == [2, 2, 2, 1]
    assert [len(part) for part in parts(ready[:1], 100, most_bytes=5)] == [1]
    assert parts([], 3) == []
