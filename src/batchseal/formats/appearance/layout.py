"""Puts text and image into the area of a visible signature.

An image keeps its size, and stands at the left. The text stands to its right, or over the image where that leaves too little
room. Lines are broken between words, and a text that is too long becomes smaller, down to four points.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from batchseal.errors import VisibleSignatureImpossible
from batchseal.formats.appearance.font import Font
from batchseal.signature import SignatureLook

PADDING, GAP = 2.0, 4.0
LEAST_SIZE, SIZE_STEP = 4.0, 0.5
LINE_SPACING = 1.15  # of the size of the font
# The text stands beside an image if at least this part of the area is left for it.
BESIDE_PART = 0.35
TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, with the left end of its baseline."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands where, in points from the lower left corner of the area. `picture` is left, bottom, width and height."""

    font_size: float
    lines: tuple[Line, ...]
    picture: tuple[float, float, float, float] | None


def clean(text: str, font: Font) -> str:
    """The text in characters that can be drawn one after the other. Raises VisibleSignatureImpossible that names another one."""
    composed = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    kept = "".join(c for c in composed if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf"))
    for character in kept:
        if character == "\n":
            continue
        if unicodedata.bidirectional(character) in ("R", "AL", "AN"):
            raise VisibleSignatureImpossible(f"{_named(character)} is written from right to left, which is not offered")
        if unicodedata.category(character) in ("Mn", "Mc", "Me") or not font.has(character):
            raise VisibleSignatureImpossible(f"the font {font.name} has no glyph for {_named(character)}")
    return kept


def lay_out(look: SignatureLook, text: str, font: Font) -> Layout:
    """Raises VisibleSignatureImpossible where the image is larger than the area, or the text does not fit."""
    padding = min(PADDING, look.height / 10, look.width / 10)
    picture, left, right = None, padding, look.width - padding
    if look.picture is not None:
        wide, high = look.picture.width * look.picture_scale, look.picture.height * look.picture_scale
        if wide > look.width + TOLERANCE or high > look.height + TOLERANCE:
            raise VisibleSignatureImpossible(
                f"the area of {look.width:g} x {look.height:g} points is smaller than the image, which takes {wide:g} x {high:g}"
            )
        picture = 0.0, (look.height - high) / 2, wide, high
        if not text.strip():
            picture = (look.width - wide) / 2, (look.height - high) / 2, wide, high
        elif right - wide - GAP >= BESIDE_PART * look.width:
            left = wide + GAP
    if not text.strip():
        return Layout(look.font_size, (), picture)
    size, lines = _fitted(look, text, font, right - left, look.height - 2 * padding)
    metrics = font.metrics
    first = metrics.ascent * size / 1000
    height = _height(len(lines), size, font)
    top = look.height - (look.height - height) / 2
    placed = (Line(left, top - first - n * LINE_SPACING * size, line) for n, line in enumerate(lines) if line.strip())
    return Layout(size, tuple(placed), picture)


def _height(lines: int, size: float, font: Font) -> float:
    metrics = font.metrics
    return (metrics.ascent - metrics.descent) * size / 1000 + (lines - 1) * LINE_SPACING * size


def _fitted(look: SignatureLook, text: str, font: Font, width: float, height: float) -> tuple[float, list[str]]:
    """The largest size up to the one that is wanted in which the text fits, and its lines. Words are broken as a last resort."""
    for breaks_words in (False, True):
        for size in _sizes(look.font_size):
            lines = _wrapped(text, font, width * 1000 / size, breaks_words=breaks_words)
            if lines is not None and _height(len(lines), size, font) <= height + TOLERANCE:
                return size, lines
    raise VisibleSignatureImpossible(
        f"the text does not fit into the area of {look.width:g} x {look.height:g} points, not even in a font of "
        f"{min(LEAST_SIZE, look.font_size):g} points"
    )


def _sizes(wanted: float) -> Iterator[float]:
    size = wanted
    while size > LEAST_SIZE:
        yield size
        size -= SIZE_STEP
    yield min(wanted, LEAST_SIZE)


def _wrapped(text: str, font: Font, width: float, *, breaks_words: bool) -> list[str] | None:
    """The lines of a text; `width` is in thousandths of the font's size. None where a word is too long to stay whole."""
    space, lines = font.width(" "), list[str]()
    for paragraph in text.split("\n"):
        line, used = "", 0.0
        for word in paragraph.split():
            word_width = font.width(word)
            if line and used + space + word_width <= width:
                line, used = f"{line} {word}", used + space + word_width
                continue
            if line:
                lines.append(line)
            while word_width > width:
                if not breaks_words or font.width(word[0]) > width:
                    return None
                head = _head(word, font, width)
                lines.append(word[:head])
                word = word[head:]
                word_width = font.width(word)
            line, used = word, word_width
        lines.append(line)
    return lines


def _head(word: str, font: Font, width: float) -> int:
    """How many characters of a word fit; at least one."""
    used = 0.0
    for n, character in enumerate(word):
        used += font.width(character)
        if used > width:
            return max(n, 1)
    return len(word)


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"{character!r} (U+{ord(character):04X}{' ' + name if name else ''})"
