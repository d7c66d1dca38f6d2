"""The search for a placeholder beside pdfminer.six: documents per CPU second, one page each, the word at its end.

    python -m benchmarks.placeholder_ratio      medians of interleaved rounds

Ours goes the whole way of a worker: a copy into a memfd, the socket to the keeper, PDFium in the searcher, and the answer. It
is warm, as in a service that has such documents; the CPU seconds of all three processes count. pdfminer.six reads the same
bytes in this process, makes its layout, and looks for the word in the text of its lines; it has no process apart and no limits.
Both must find the same place within a point and a half: pdfminer's boxes are those of the font, PDFium's those of the letters.
"""

import asyncio
import io
import itertools
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from harness.invoices import invoice, page_contents

from batchseal.formats.pades.placeholder.finder import Finder
from batchseal.formats.pades.placeholder.wire import Found
from batchseal.processes.on_demand import OnDemandProcess

ROUNDS, DOCUMENTS, THEIRS = 5, 200, 10
Place = tuple[int, float, float]


def pages(count: int) -> list[bytes]:
    """Invoices that have one page."""
    numbers = (n for n in itertools.count(1) if len(page_contents(n, random.Random(f"0/{n}"))) == 1)
    return [invoice(number, size_bytes=20_000) for number in itertools.islice(numbers, count)]


def word_of(document: bytes) -> str:
    """The last word on the page that stands there once."""
    words = [word for _, line in lines(document) for word in line.get_text().split()]
    return next(word for word in reversed(words) if words.count(word) == 1 and len(word) > 3)


def lines(document: bytes) -> Iterator[tuple[int, Any]]:
    from pdfminer.high_level import extract_pages
    from pdfminer.layout import LTTextContainer, LTTextLine

    for number, layout in enumerate(extract_pages(io.BytesIO(document)), 1):
        for box in layout:
            if isinstance(box, LTTextContainer):
                yield from ((number, line) for line in box if isinstance(line, LTTextLine))


def theirs(document: bytes, word: str) -> Place:
    from pdfminer.layout import LTChar

    for number, line in lines(document):
        letters = list(line)
        at = "".join(one.get_text() for one in letters).find(word)
        if at >= 0:
            first = letters[at]
            assert isinstance(first, LTChar)
            return number, first.x0, first.y0
    raise AssertionError(f"pdfminer does not find {word!r}")


async def ours(finder: Finder, document: bytes, word: str) -> Place:
    found = await finder.find("bench", document, word)
    if found.found is not Found.FOUND:
        raise AssertionError(f"not found: {found}")
    return found.page, found.x, found.y


def cpu_seconds(process: OnDemandProcess) -> float:
    """What this process, the keeper and its searcher have used."""
    assert process.process is not None
    keeper = process.process.pid
    used = time.process_time()
    for pid in (keeper, *map(int, Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split())):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


async def measured(documents: Sequence[tuple[bytes, str]], rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "placeholder.sock"
        process = OnDemandProcess("placeholder", "batchseal.formats.pades.placeholder.keeper", path)
        process.listen()
        finder = Finder(path, lambda client, memory_bytes: nullcontext())
        try:
            for document, word in documents[:THEIRS]:  # warm, and of one mind
                mine, other = await ours(finder, document, word), theirs(document, word)
                if mine[0] != other[0] or abs(mine[1] - other[1]) > 1.5 or abs(mine[2] - other[2]) > 4:
                    raise AssertionError(f"{mine} is not {other}")
            rates: dict[str, list[float]] = {"ours": [], "pdfminer": []}
            for _ in range(rounds):
                began = cpu_seconds(process)
                for document, word in documents:
                    await ours(finder, document, word)
                rates["ours"].append(len(documents) / (cpu_seconds(process) - began))
                began = time.process_time()
                for document, word in documents[:THEIRS]:
                    theirs(document, word)
                rates["pdfminer"].append(min(THEIRS, len(documents)) / (time.process_time() - began))
        finally:
            finder.close()
            await process.stop()
    ours_rate, their_rate = (statistics.median(rates[name]) for name in ("ours", "pdfminer"))
    return {
        "documents_per_cpu_second": {"ours": round(ours_rate, 1), "pdfminer": round(their_rate, 1)},
        "placeholder_over_pdfminer": round(ours_rate / their_rate, 1),
    }


def measure(documents: int = DOCUMENTS, rounds: int = ROUNDS) -> dict[str, Any]:
    few = pages(min(documents, THEIRS))
    with_words = [(document, word_of(document)) for document in few]
    return asyncio.run(measured([with_words[n % len(few)] for n in range(documents)], rounds))


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
