"""The search itself, by PDFium. It runs in a searcher alone: PDFium is not thread safe, and may die of a document.

The text is compared in compatibility form (NFKC), so that a ligature is its letters, and without what PDFium makes up between runs of
text: a word whose parts were placed one by one is found. Invisible text counts, since placeholders are often white or invisible.
"""

import ctypes
import unicodedata
from typing import Any

import pypdfium2.raw as pdfium

from batchseal.placeholder.wire import Answer, Found

# Of one page. Text beyond is not looked at letter by letter.
MOST_CHARACTERS = 1_000_000


def search(content: Any, content_bytes: int, word: str) -> Answer:
    """The first occurrence of `word`, by page and by the order of the text. `content` is a ctypes array or address."""
    document = pdfium.FPDF_LoadMemDocument64(content, content_bytes, None)
    if not document:
        return Answer(Found.UNREADABLE)
    try:
        wanted = plain(word)
        for number in range(pdfium.FPDF_GetPageCount(document)):
            if (corner := _on_page_number(document, number, wanted)) is not None:
                return Answer(Found.FOUND, number + 1, *corner)
        return Answer(Found.NOT_FOUND)
    finally:
        pdfium.FPDF_CloseDocument(document)


def _on_page_number(document: Any, number: int, wanted: str) -> tuple[float, float] | None:
    if not (page := pdfium.FPDF_LoadPage(document, number)):
        return None
    try:
        if not (text := pdfium.FPDFText_LoadPage(page)):
            return None
        try:
            return _on_page(page, text, wanted)
        finally:
            pdfium.FPDFText_ClosePage(text)
    finally:
        pdfium.FPDF_ClosePage(page)


def plain(text: str) -> str:
    """The letters of a text: ligatures are taken apart, and white space is left out."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _on_page(page: Any, text: Any, wanted: str) -> tuple[float, float] | None:
    """The lower left corner of the first occurrence, as the page is shown, in user space."""
    count = min(pdfium.FPDFText_CountChars(text), MOST_CHARACTERS)
    if count <= 0 or not wanted:
        return None
    buffer = ctypes.create_string_buffer(2 * count + 2)
    units = pdfium.FPDFText_GetText(text, 0, count, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)))
    # This is fast, and nearly all pages end here. It may find what is none: two words with a space between them.
    if wanted not in plain(buffer.raw[: 2 * max(0, units - 1)].decode("utf-16-le", "replace")):
        return None
    return _corner(page, text, *_spelled(text, count), wanted)


def _spelled(text: Any, count: int) -> tuple[str, list[int]]:
    """The letters of the page, and for each the number of its character. A space that is none in the document is left out."""
    letters, numbers = [], list[int]()
    high = 0
    for number in range(count):
        unit = pdfium.FPDFText_GetUnicode(text, number)
        if 0xD800 <= unit < 0xDC00:
            high = unit
            continue
        if 0xDC00 <= unit < 0xE000 and high:
            unit = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00)
        high = 0
        if pdfium.FPDFText_IsGenerated(text, number) == 1 or unit in (0, 0xFFFE, 0xFFFF) or 0xD800 <= unit < 0xE000:
            continue
        part = unicodedata.normalize("NFKC", chr(unit))
        letters.append(part)
        numbers += [number] * len(part)
    return "".join(letters), numbers


def _corner(page: Any, text: Any, letters: str, numbers: list[int], wanted: str) -> tuple[float, float] | None:
    at = letters.find(wanted)
    if at < 0:
        return None
    sides: list[tuple[float, float, float, float]] = []
    for number in dict.fromkeys(numbers[at : at + len(wanted)]):
        left, right, bottom, top = (ctypes.c_double() for _ in range(4))
        if pdfium.FPDFText_GetCharBox(text, number, left, right, bottom, top):
            sides.append((left.value, right.value, bottom.value, top.value))
    if not sides:
        return None
    lefts, rights, bottoms, tops = zip(*sides, strict=True)
    # /Rotate turns the page clockwise: its lower left corner is another one in user space.
    corners = {
        0: (min(lefts), min(bottoms)),
        1: (max(rights), min(bottoms)),
        2: (max(rights), max(tops)),
        3: (min(lefts), max(tops)),
    }
    return corners[pdfium.FPDFPage_GetRotation(page) % 4]
