"""The search itself, by PDFium. It runs in a searcher alone: PDFium is not thread safe, and may die of a document.

The text is compared in compatibility form (NFKC), so that a ligature is its letters, and without what PDFium makes up between
runs of text: a word whose parts were placed one by one is found. Invisible text counts, since placeholders are often white or
invisible.
"""

import ctypes
import unicodedata
from typing import Any, NamedTuple

import pypdfium2.raw as pdfium

from batchseal.formats.pades.placeholder.wire import Answer, Found

# Of one page. Text beyond is not looked at letter by letter.
MOST_CHARACTERS = 1_000_000


def search(content: Any, content_bytes: int, word: str) -> Answer:
    """The first occurrence of `word`, by page and by the order of the text. `content` is a ctypes array or address."""
    document = pdfium.FPDF_LoadMemDocument64(content, content_bytes, None)
    if not document:
        return Answer(Found.UNREADABLE)
    try:
        for number in range(pdfium.FPDF_GetPageCount(document)):
            if (corner := _on_page_number(document, number, word)) is not None:
                return Answer(Found.FOUND, number + 1, *corner)
        return Answer(Found.NOT_FOUND)
    finally:
        pdfium.FPDF_CloseDocument(document)


def _on_page_number(document: Any, number: int, word: str) -> tuple[float, float] | None:
    if not (page := pdfium.FPDF_LoadPage(document, number)):
        return None
    try:
        if not (text := pdfium.FPDFText_LoadPage(page)):
            return None
        try:
            return _on_page(page, text, word)
        finally:
            pdfium.FPDFText_ClosePage(text)
    finally:
        pdfium.FPDF_ClosePage(page)


def plain(text: str) -> str:
    """The letters of a text: ligatures are taken apart, and white space is left out."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _on_page(page: Any, text: Any, word: str) -> tuple[float, float] | None:
    """The lower left corner of the first occurrence, as the page is shown, in user space."""
    count, wanted = min(pdfium.FPDFText_CountChars(text), MOST_CHARACTERS), plain(word)
    if count <= 0 or not wanted:
        return None
    buffer = ctypes.create_string_buffer(2 * count + 2)
    units = pdfium.FPDFText_GetText(text, 0, count, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)))
    # This is fast, and nearly all pages end here. It may find what is none: two words with a space between them.
    whole = buffer.raw[: 2 * max(0, units - 1)].decode("utf-16-le", "replace")
    first = plain(whole).find(wanted)
    if first < 0:
        return None
    # Mostly the word stands there as it is. Two calls of PDFium for each letter of the page would take longer than all the rest.
    at = whole.find(word)
    if at >= 0 and len(plain(whole[:at])) == first and len(whole) == units - 1:
        numbers = [pdfium.FPDFText_GetCharIndexFromTextIndex(text, at + n) for n in range(len(word))]
        return _corner(page, [number for number in numbers if number >= 0], text)
    return _corner(page, _found(_spelled(text, count), word), text)


class Letter(NamedTuple):
    """A letter of the page: the number of its character, and what stands before it."""

    letter: str
    number: int
    has_space: bool  # a space of the document
    may_have_space: bool  # PDFium takes two runs of text for two words; they may be one


def _spelled(text: Any, count: int) -> list[Letter]:
    """The letters of the page, without white space."""
    letters = list[Letter]()
    high, has_space, may_have_space = 0, False, False
    for number in range(count):
        unit = pdfium.FPDFText_GetUnicode(text, number)
        if 0xD800 <= unit < 0xDC00:
            high = unit
            continue
        if 0xDC00 <= unit < 0xE000 and high:
            unit = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00)
        high = 0
        if pdfium.FPDFText_IsGenerated(text, number) == 1:
            may_have_space = True
        elif unit in (0, 0xFFFE, 0xFFFF) or 0xD800 <= unit < 0xE000:
            continue
        elif chr(unit).isspace():
            has_space = True
        else:
            for letter in unicodedata.normalize("NFKC", chr(unit)):
                letters.append(Letter(letter, number, has_space, has_space or may_have_space))
                has_space = may_have_space = False
    return letters


def _found(letters: list[Letter], word: str) -> list[int]:
    """The characters of the first occurrence. Where the word has a space there is one, and where it has none there is none."""
    parts = unicodedata.normalize("NFKC", word).split()
    wanted, spelled = "".join(parts), "".join(one.letter for one in letters)
    starts = {sum(map(len, parts[:n])) for n in range(1, len(parts))}
    at = spelled.find(wanted)
    while at >= 0:
        hit = letters[at : at + len(wanted)]
        if all(one.may_have_space if n in starts else not one.has_space for n, one in enumerate(hit) if n):
            return list(dict.fromkeys(one.number for one in hit))
        at = spelled.find(wanted, at + 1)
    return []


def _corner(page: Any, numbers: list[int], text: Any) -> tuple[float, float] | None:
    sides: list[tuple[float, float, float, float]] = []
    for number in numbers:
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
