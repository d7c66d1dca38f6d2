"""Fonts of visible signatures: the Liberation family, of which a document gets the glyphs that it shows (ISO 32000-2 9.7.4).

The three files are read where they lie, and a subset is cut here: the tables that a CIDFontType2 needs (ISO 32000-2 9.9.1), with
the glyphs renumbered and without hints. Only fonts that this package ships are read, never one that somebody has sent.
"""

import mmap
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).with_name("fonts")
# What callers may call a font, and the one with the same widths that stands for it.
TWINS = {
    "arial": "LiberationSans",
    "helvetica": "LiberationSans",
    "sans": "LiberationSans",
    "sans-serif": "LiberationSans",
    "times": "LiberationSerif",
    "timesnewroman": "LiberationSerif",
    "timesroman": "LiberationSerif",
    "serif": "LiberationSerif",
    "courier": "LiberationMono",
    "couriernew": "LiberationMono",
    "mono": "LiberationMono",
    "monospace": "LiberationMono",
}
DEFAULT = "LiberationSans"

# Flags of a component of a composite glyph (OpenType 1.9, glyf).
WORDS, SCALE, MORE, TWO_SCALES, MATRIX, INSTRUCTIONS = 0x1, 0x8, 0x20, 0x40, 0x80, 0x100


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a font descriptor says (ISO 32000-2 9.8.1), in thousandths of the font's size."""

    ascent: int
    descent: int
    cap_height: int
    box: tuple[int, int, int, int]
    is_serif: bool
    is_fixed: bool


@dataclass(frozen=True, slots=True)
class Subset:
    """A font with some glyphs. `glyphs` is the number of each character's glyph, `widths` is by glyph, in thousandths."""

    name: str
    program: bytes
    glyphs: dict[str, int]
    widths: tuple[int, ...]


class Font:
    """One of the shipped fonts. Its file is mapped into memory, so processes share its pages."""

    def __init__(self, name: str) -> None:
        self.name = name
        with (FOLDER / f"{name}-Regular.ttf").open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        (count,) = struct.unpack_from(">H", self._data, 4)
        self._tables = {
            tag: (at, length)
            for tag, _, at, length in (struct.unpack_from(">4sIII", self._data, 12 + 16 * n) for n in range(count))
        }
        head = self._tables[b"head"][0]
        self._units = int(struct.unpack_from(">H", self._data, head + 18)[0])
        self._box = struct.unpack_from(">4h", self._data, head + 36)
        (self._long_offsets,) = struct.unpack_from(">h", self._data, head + 50)
        (self._long_metrics,) = struct.unpack_from(">H", self._data, self._tables[b"hhea"][0] + 34)
        self._glyph_of = self._read_cmap()

    @property
    def metrics(self) -> Metrics:
        os2 = self._tables[b"OS/2"][0]
        ascent, descent = struct.unpack_from(">hh", self._data, self._tables[b"hhea"][0] + 4)
        (cap_height,) = struct.unpack_from(">h", self._data, os2 + 88)
        a, b, c, d = (self._scaled(value) for value in self._box)
        return Metrics(
            self._scaled(ascent),
            self._scaled(descent),
            self._scaled(cap_height),
            (a, b, c, d),
            self.name == "LiberationSerif",
            self.name == "LiberationMono",
        )

    def has(self, character: str) -> bool:
        return ord(character) in self._glyph_of

    def width(self, text: str) -> float:
        """The width of a text in thousandths of the font's size. Every character has a glyph."""
        return sum(self._scaled(self._advance(self._glyph_of[ord(character)])) for character in text)

    def _scaled(self, units: int) -> int:
        return round(units * 1000 / self._units)

    def _advance(self, glyph: int) -> int:
        at = self._tables[b"hmtx"][0] + 4 * min(glyph, self._long_metrics - 1)
        return int(struct.unpack_from(">H", self._data, at)[0])

    def _bearing(self, glyph: int) -> int:
        at = self._tables[b"hmtx"][0]
        beyond = glyph - self._long_metrics
        at += 4 * glyph + 2 if beyond < 0 else 4 * self._long_metrics + 2 * beyond
        return int(struct.unpack_from(">h", self._data, at)[0])

    def _read_cmap(self) -> dict[int, int]:
        """The glyph of each character, from the table for Windows and Unicode (format 4)."""
        base = self._tables[b"cmap"][0]
        (count,) = struct.unpack_from(">H", self._data, base + 2)
        records = (struct.unpack_from(">HHI", self._data, base + 4 + 8 * n) for n in range(count))
        at = next(base + offset for platform, encoding, offset in records if (platform, encoding) == (3, 1))
        (segments,) = struct.unpack_from(">H", self._data, at + 6)
        segments //= 2
        ends = struct.unpack_from(f">{segments}H", self._data, at + 14)
        starts = struct.unpack_from(f">{segments}H", self._data, at + 16 + 2 * segments)
        deltas = struct.unpack_from(f">{segments}H", self._data, at + 16 + 4 * segments)
        ranges_at = at + 16 + 6 * segments
        ranges = struct.unpack_from(f">{segments}H", self._data, ranges_at)
        found: dict[int, int] = {}
        for n, (start, end, delta, offset) in enumerate(zip(starts, ends, deltas, ranges, strict=True)):
            for code in range(start, min(end, 0xFFFE) + 1):
                glyph = code
                if offset:
                    place = ranges_at + 2 * n + offset + 2 * (code - start)
                    (glyph,) = struct.unpack_from(">H", self._data, place)
                if (not offset or glyph) and (number := (glyph + delta) & 0xFFFF):
                    found[code] = number
        return found

    # --- a subset -----------------------------------------------------------------------------------------------------

    def subset(self, characters: Iterable[str]) -> Subset:
        """The font with .notdef and the glyphs of these characters, each of which has one."""
        order = sorted(set(characters))
        old = [0]  # the glyphs of the subset, by their new number
        glyphs: dict[str, int] = {}
        for character in order:
            glyph = self._glyph_of[ord(character)]
            if glyph not in old:
                old.append(glyph)
            glyphs[character] = old.index(glyph)
        outlines = []
        for glyph in old:  # components are added at the end while this goes on
            outlines.append(self._outline(glyph, old))
        program = self._program(old, outlines)
        return Subset(self.name, program, glyphs, tuple(self._scaled(self._advance(glyph)) for glyph in old))

    def _offset(self, glyph: int) -> int:
        loca = self._tables[b"loca"][0]
        if self._long_offsets:
            return int(struct.unpack_from(">I", self._data, loca + 4 * glyph)[0])
        return 2 * int(struct.unpack_from(">H", self._data, loca + 2 * glyph)[0])

    def _outline(self, glyph: int, old: list[int]) -> bytes:
        """The description of a glyph without its instructions; the components of a composite one get their new numbers."""
        start, end = self._offset(glyph), self._offset(glyph + 1)
        base = self._tables[b"glyf"][0]
        data = bytearray(self._data[base + start : base + end])
        if not data:
            return b""
        (contours,) = struct.unpack_from(">h", data)
        if contours >= 0:
            at = 10 + 2 * contours
            (length,) = struct.unpack_from(">H", data, at)
            return bytes(data[:at]) + b"\0\0" + bytes(data[at + 2 + length :])
        at, flags = 10, MORE
        while flags & MORE:
            flags, component = struct.unpack_from(">HH", data, at)
            if component not in old:
                old.append(component)
            struct.pack_into(">HH", data, at, flags & ~INSTRUCTIONS, old.index(component))
            at += 8 if flags & WORDS else 6
            at += 2 if flags & SCALE else 4 if flags & TWO_SCALES else 8 if flags & MATRIX else 0
        return bytes(data[:at])

    def _program(self, old: list[int], outlines: list[bytes]) -> bytes:
        glyf, offsets = b"", [0]
        for outline in outlines:
            glyf += outline + bytes(-len(outline) % 4)
            offsets.append(len(glyf))
        head = bytearray(self._table(b"head"))
        struct.pack_into(">I", head, 8, 0)  # checkSumAdjustment, which is filled in at the end
        struct.pack_into(">h", head, 50, 1)
        hhea, maxp = bytearray(self._table(b"hhea")), bytearray(self._table(b"maxp"))
        struct.pack_into(">H", hhea, 34, len(old))
        struct.pack_into(">H", maxp, 4, len(old))
        # Of what hints need nothing is left: points in the twilight zone, storage, functions, definitions, stack, instructions.
        struct.pack_into(">7H", maxp, 14, 1, 0, 0, 0, 0, 0, 0)
        tables = {
            b"glyf": glyf,
            b"head": bytes(head),
            b"hhea": bytes(hhea),
            b"hmtx": b"".join(struct.pack(">Hh", self._advance(glyph), self._bearing(glyph)) for glyph in old),
            b"loca": struct.pack(f">{len(offsets)}I", *offsets),
            b"maxp": bytes(maxp),
        }
        return _font_file(tables)

    def _table(self, tag: bytes) -> bytes:
        at, length = self._tables[tag]
        return bytes(self._data[at : at + length])


def _checksum(data: bytes) -> int:
    words: tuple[int, ...] = struct.unpack(f">{len(data) // 4}I", data)
    return sum(words) & 0xFFFFFFFF


def _font_file(tables: dict[bytes, bytes]) -> bytes:
    """A TrueType file with these tables (OpenType 1.9, "Organization of an OpenType Font")."""
    power = 1 << (len(tables).bit_length() - 1)
    directory = struct.pack(
        ">IHHHH", 0x00010000, len(tables), 16 * power, power.bit_length() - 1, 16 * (len(tables) - power)
    )
    body, at = b"", 12 + 16 * len(tables)
    for tag, data in sorted(tables.items()):
        padded = data + bytes(-len(data) % 4)
        directory += struct.pack(">4sIII", tag, _checksum(padded), at + len(body), len(data))
        body += padded
    file = bytearray(directory + body)
    head = next(
        struct.unpack_from(">I", directory, 12 + 16 * n + 8)[0]
        for n, tag in enumerate(sorted(tables))
        if tag == b"head"
    )
    struct.pack_into(">I", file, head + 8, (0xB1B0AFBA - _checksum(bytes(file))) & 0xFFFFFFFF)
    return bytes(file)


def named(name: str) -> tuple[str, bool]:
    """The shipped font for a name that a caller has written, and whether the name is known; else it is the default."""
    plain = "".join(character for character in name.lower() if character.isalnum() or character == "-").replace("-", "")
    known = {spelt.replace("-", ""): twin for spelt, twin in TWINS.items()}
    known |= {twin.lower(): twin for twin in TWINS.values()}
    return known.get(plain, DEFAULT), plain in known


@lru_cache(maxsize=len(set(TWINS.values())))
def load(name: str) -> Font:
    """The shipped font with this name."""
    return Font(name)
