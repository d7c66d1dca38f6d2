"""PDFs with a word in them that is placed, split or drawn in some way, PDFs that harm who looks for it, and a keeper."""

import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from harness.validators.samples import Objects, with_table

from batchseal.formats.pades.placeholder.finder import Finder, FinderPace
from batchseal.processes.on_demand import OnDemandProcess

WORD = "##SEAL##"
MODULE = "batchseal.formats.pades.placeholder.keeper"


def document(contents: Sequence[bytes], more: bytes = b"", extra: Objects | None = None) -> bytes:
    """Pages of 595 x 842 units with these contents; `more` stands in each page, and font F1 is Helvetica."""
    objects: dict[int, bytes] = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    }
    kids = b""
    for number, content in enumerate(contents):
        page = 100 + 2 * number
        kids += b"%d 0 R " % page
        objects[page] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R%s>>"
            % (page + 1, more)
        )
        packed = zlib.compress(content)
        objects[page + 1] = b"<</Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (len(packed), packed)
    objects[2] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(contents), kids)
    return with_table(objects | dict(extra or {}))


def text(word: str = WORD, x: float = 140, y: float = 60, *, before: bytes = b"", size: int = 12) -> bytes:
    return b"BT /F1 %d Tf %s %g %g Td (%s) Tj ET\n" % (size, before, x, y, word.encode("cp1252"))


def endless(pages: int = 200_000) -> bytes:
    """One page with much text that the document has again and again: minutes of work, and little memory."""
    content = b"BT /F1 1 Tf 1 1 Td " + b"(many words of no meaning) Tj " * 400 + b"ET"
    return document([content]).replace(b"/Count 1/Kids[100 0 R ]", b"/Count %d/Kids[%s]" % (pages, b"100 0 R " * pages))


def many_forms() -> bytes:
    """Forms that draw each other: ten times ten times ten ... texts, all of which PDFium keeps."""
    forms: dict[int, bytes] = {}
    for number in range(9):
        body = (b"/X Do " * 10) if number else b"BT /F1 1 Tf 1 1 Td (x) Tj ET " * 10
        below = b"/XObject<</X %d 0 R>>" % (50 + number - 1) if number else b""
        forms[50 + number] = (
            b"<</Type/XObject/Subtype/Form/BBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>%s>>/Length %d>>\nstream\n%s\nendstream"
            % (below, len(body), body)
        )
    more = b"/Resources<</XObject<</X 58 0 R>>/Font<</F1 3 0 R>>>>"
    return document([b"/X Do " * 10], more, forms)


def memory_bomb() -> bytes:
    """A page whose content is a thousand times as long as the file."""
    content = b"BT /F1 1 Tf (" + b"x" * (600 << 20) + b") Tj ET"
    return document([content])


@dataclass(frozen=True, slots=True)
class Running:
    """A keeper for a test: the finder that asks it, and the process that starts it."""

    finder: Finder
    process: OnDemandProcess
    path: Path


@asynccontextmanager
async def keeper(folder: Path, *, idle_seconds: float = 30.0) -> AsyncIterator[Running]:
    path = folder / "placeholder.sock"
    process = OnDemandProcess("placeholder", MODULE, path, (f"--idle-seconds={idle_seconds}",))
    process.listen()
    finder = Finder(path, booked, FinderPace(answer_seconds=240))
    try:
        yield Running(finder, process, path)
    finally:
        finder.close()
        await process.stop()


def booked(client: str, memory_bytes: int) -> "nullcontext[None]":
    return nullcontext()
