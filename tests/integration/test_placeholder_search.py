"""The search for a placeholder, by a real keeper and PDFium: where words are found, and documents that harm who reads them."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from harness.waiting import eventually
from tests.support.placeholders import MODULE, WORD, Running, document, endless, keeper, many_forms, memory_bomb, text

from batchseal.errors import NoRoom
from batchseal.formats.pades.placeholder.finder import Finder, FinderPace, place_of
from batchseal.formats.pades.placeholder.wire import Answer, Found, memory_needed
from batchseal.processes.on_demand import OnDemandProcess
from batchseal.signature import LocationType, SignaturePlace


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with keeper(tmp_path) as one:
        yield one


# The fi ligature of the font, as one glyph (annex D.2: octal 336 in StandardEncoding is not in WinAnsi, so a name is given).
LIGATURE = {
    3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</Type/Encoding/BaseEncoding/WinAnsiEncoding"
    b"/Differences[1/fi]>>>>"
}
PICTURE = b"q 50 0 0 50 100 100 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI Q"
# A page's contents, what stands in its dictionary, the word, and where it is: the page, and x and y in user space.
CASES: dict[str, tuple[list[bytes], bytes, str, tuple[int, float, float]]] = {
    "plain": ([text()], b"", WORD, (1, 140.3, 59.8)),
    "on the fifth of five pages": ([text("other")] * 4 + [text()], b"", WORD, (5, 140.3, 59.8)),
    "the first of several": ([text("x") + text(y=500) + text(y=700), text()], b"", WORD, (1, 140.3, 499.8)),
    "inside other text": ([text(f"before {WORD} after")], b"", WORD, (1, 177.7, 59.8)),
    "in several runs": (
        [b"BT /F1 12 Tf 140 60 Td (##SE) Tj (AL) Tj 42 0 Td (##) Tj ET"],
        b"",
        WORD,
        (1, 140.3, 59.8),
    ),
    "spread by kerning": ([b"BT /F1 12 Tf 140 60 Td [(##)-300(SE)-400(AL)120(##)] TJ ET"], b"", WORD, (1, 140.3, 59.8)),
    "each letter by itself": (
        [b"".join(text(letter, 140 + 14 * n) + b" " for n, letter in enumerate("[SIGN]"))],
        b"",
        "[SIGN]",
        (1, 140.7, 57.5),
    ),
    "invisible": ([text(before=b"3 Tr")], b"", WORD, (1, 140.3, 59.8)),
    "white": ([text(before=b"1 1 1 rg")], b"", WORD, (1, 140.3, 59.8)),
    "with letters beyond ASCII": ([text("Assinatura_é")], b"", "Assinatura_é", (1, 140.2, 58.5)),
    "with white space": ([text("sign here please")], b"", "sign here", (1, 140.4, 57.4)),
    "with a space that is a distance": ([text("sign") + text("here", 170)], b"", "sign here", (1, 140.4, 57.4)),
    "on a page that is cropped": ([text()], b"/CropBox[100 40 400 500]", WORD, (1, 140.3, 59.8)),
    "on a page of large units": ([text()], b"/UserUnit 2", WORD, (1, 140.3, 59.8)),
    # The corner that is lower left as the page is shown: text that reads upright there runs upwards, backwards, downwards.
    "on a page turned by 90": ([text(before=b"0 1 -1 0 300 200 Tm", x=0, y=0)], b"/Rotate 90", WORD, (1, 300.2, 200.3)),
    "on a page turned by 180": (
        [text(before=b"-1 0 0 -1 300 200 Tm", x=0, y=0)],
        b"/Rotate 180",
        WORD,
        (1, 299.7, 200.2),
    ),
    "on a page turned by 270": (
        [text(before=b"0 -1 1 0 300 200 Tm", x=0, y=0)],
        b"/Rotate -90",
        WORD,
        (1, 299.8, 199.7),
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_word_is_found_where_it_is_seen(name: str, running: Running) -> None:
    contents, more, word, (page, x, y) = CASES[name]
    found = await running.finder.find("a", document(contents, more), word)
    assert (found.found, found.page) == (Found.FOUND, page)
    assert (found.x, found.y) == pytest.approx((x, y), abs=0.6)


@pytest.mark.parametrize("word", ["final", "ﬁnal"])
@pytest.mark.parametrize("encoded", ["\x01nal", "final"])
async def test_a_ligature_is_its_letters(word: str, encoded: str, running: Running) -> None:
    content = document([b"BT /F1 12 Tf 140 60 Td (%s) Tj ET" % encoded.encode()], extra=LIGATURE)
    found = await running.finder.find("a", content, word)
    assert found.found is Found.FOUND
    assert (found.x, found.y) == pytest.approx((140.2, 60), abs=0.6)


@pytest.mark.parametrize(
    ("contents", "word"),
    [
        ([text()], "##seal##"),
        ([text("##SE AL##")], WORD),
        ([text("##SE", 100) + text("AL##", 300)], "##SEAL###"),
        ([PICTURE], WORD),
        ([b""], WORD),
        ([text()], " "),
    ],
    ids=["another case", "a space inside", "a longer word", "a picture", "an empty page", "nothing but space"],
)
async def test_what_is_not_there_is_not_found(contents: list[bytes], word: str, running: Running) -> None:
    assert (await running.finder.find("a", document(contents), word)).found is Found.NOT_FOUND


@pytest.mark.parametrize("content", [b"", b"x", b"%PDF-1.7\n", document([text()])[:200]])
async def test_what_cannot_be_opened_says_so(content: bytes, running: Running) -> None:
    assert (await running.finder.find("a", content, WORD)).found is Found.UNREADABLE


def test_what_was_found_becomes_a_place_or_a_cause() -> None:
    sought = SignaturePlace(LocationType.PLACEHOLDER, name="w" * 500)
    assert sought.is_sought
    found = place_of(sought, Answer(Found.FOUND, 3, 1.5, 2.5))
    assert (found.page, found.x, found.y, found.is_sought) == (3, 1.5, 2.5, False)
    for how in set(Found) - {Found.FOUND}:
        missing = place_of(sought, Answer(how))
        assert not missing.is_sought
        assert 20 < len(missing.missing) < 250


# --- documents that do harm -------------------------------------------------------------------------------------------------


def searcher_of(running: Running) -> int:
    """The process that searches just now; 0 if there is none."""
    process = running.process.process
    if process is None or process.returncode is not None:
        return 0
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if children else 0


def cpu_ticks(pid: int) -> int:
    """The processor time of a process; 0 if there is none of this number."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    return 0


async def busy_searcher(running: Running, ticks: int) -> int:
    """The process that searches, once it has worked for so long."""
    found: list[int] = []

    def is_busy() -> bool:
        found[:] = [searcher_of(running)]
        return cpu_ticks(found[0]) > ticks

    await eventually(is_busy)
    return found[0]


def peak_kilobytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("bomb", [memory_bomb, many_forms])
async def test_a_document_that_takes_all_memory_is_refused_and_others_are_searched(bomb, running: Running) -> None:
    harmless = document([text()])
    assert (await running.finder.find("good", harmless, WORD)).found is Found.FOUND
    bad, good = await asyncio.gather(
        running.finder.find("bad", bomb(), WORD), running.finder.find("good", harmless, WORD)
    )
    assert bad.found is Found.DIED
    assert good.found is Found.FOUND
    assert (await running.finder.find("good", harmless, WORD)).found is Found.FOUND
    assert peak_kilobytes(searcher_of(running)) < 100 << 10, "a new searcher, which has taken little"


async def test_a_document_without_end_is_given_up_and_delays_others_by_no_more_than_one(running: Running) -> None:
    content = endless()
    harmless = document([text()])
    assert (await running.finder.find("good", harmless, WORD)).found is Found.FOUND
    order: list[str] = []

    async def search(client: str, what: bytes) -> Answer:
        found = await running.finder.find(client, what, WORD)
        order.append(client)
        return found

    # Two of one client service at a time: its finders know nothing of each other, as in several workers.
    others = [Finder(running.path, lambda client, size: asyncio.Lock()) for _ in range(1)]
    slow = [asyncio.create_task(search("slow", content))]
    slow += [asyncio.create_task(one.find("slow", content, WORD)) for one in others]
    await busy_searcher(running, 20)
    results = [await search("good", harmless) for _ in range(20)]
    assert {one.found for one in results} == {Found.FOUND}
    assert order[:20].count("good") >= 19, "the fast ones were not behind the slow ones of another"
    assert {one.found for one in await asyncio.gather(*slow)} == {Found.TOO_LONG}
    for one in others:
        one.close()


async def test_a_searcher_that_is_killed_is_replaced_and_the_document_is_tried_once_more(running: Running) -> None:
    content = endless(200)
    searching = asyncio.create_task(running.finder.find("a", content, "missing"))
    with suppress(ProcessLookupError):
        os.kill(await busy_searcher(running, 5), signal.SIGKILL)
    assert (await searching).found is Found.NOT_FOUND


async def test_a_keeper_that_is_killed_is_replaced(running: Running) -> None:
    harmless = document([text()])
    assert (await running.finder.find("a", harmless, WORD)).found is Found.FOUND
    process = running.process.process
    assert process is not None
    searching = asyncio.create_task(running.finder.find("a", endless(200), "missing"))
    gone = await busy_searcher(running, 5)
    process.kill()
    assert (await searching).found is Found.NOT_FOUND
    assert process is not running.process.process
    await eventually(lambda: not Path(f"/proc/{gone}").exists())


async def test_the_keeper_starts_when_it_is_needed_and_ends_when_it_is_idle(tmp_path: Path) -> None:
    async with keeper(tmp_path, idle_seconds=0.2) as running:
        assert running.process.process is None
        for _ in range(2):
            assert (await running.finder.find("a", document([text()]), WORD)).found is Found.FOUND
            process = running.process.process
            assert process is not None
            await eventually(lambda process=process: process.returncode == 0)


# --- what a search takes ----------------------------------------------------------------------------------------------------


async def test_the_memory_of_a_search_is_booked_while_it_lasts(running: Running) -> None:
    booked: list[tuple[str, int]] = []

    @asynccontextmanager
    async def reserve(client: str, memory_bytes: int) -> AsyncIterator[None]:
        booked.append((client, memory_bytes))
        yield
        booked.append((client, -memory_bytes))

    content = document([text()]).ljust(3 << 20)
    finder = Finder(running.path, reserve)
    assert (await finder.find("a", content, WORD)).found is Found.FOUND
    finder.close()
    assert booked == [("a", memory_needed(3 << 20)), ("a", -memory_needed(3 << 20))]


async def test_a_caller_is_told_that_nobody_can_search(tmp_path: Path) -> None:
    @asynccontextmanager
    async def reserve(client: str, memory_bytes: int) -> AsyncIterator[None]:
        yield

    finder = Finder(tmp_path / "nobody.sock", reserve, FinderPace(tries=2))
    with pytest.raises(NoRoom):
        await finder.find("a", document([text()]), WORD)


async def test_a_program_that_cannot_start_is_started_again_in_vain(tmp_path: Path) -> None:
    process = OnDemandProcess("placeholder", f"{MODULE}_of_nobody", tmp_path / "p.sock")
    process.listen()
    finder = Finder(tmp_path / "p.sock", lambda client, size: asyncio.Lock(), FinderPace(answer_seconds=1, tries=1))
    began = time.monotonic()
    with pytest.raises(NoRoom):
        await finder.find("a", document([text()]), WORD)
    assert time.monotonic() - began < 120
    await process.stop()
