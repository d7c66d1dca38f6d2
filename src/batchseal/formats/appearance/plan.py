"""Makes the objects of an appearance: a form, the subset of a font, and an image (ISO 32000-2 8.10, 9.7, 8.9)."""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchseal._native import planner
from batchseal.formats.appearance.font import Font, Subset
from batchseal.formats.appearance.image import EncodedImage
from batchseal.formats.appearance.layout import Layout
from batchseal.signature import SignatureLook

# Shorter streams stand in every plan: each one that is kept apart makes two segments of one, in the digest and on the way out.
SHARED_BYTES = 1024
# sRGB, nearly: IEC 61966-2-1 with a gamma of 2.2 in place of its curve (ISO 32000-2 8.6.5.2, 8.6.5.3).
WHITE_POINT = b"/WhitePoint[0.9505 1 1.089]"
CALIBRATED_RGB = (
    b"[/CalRGB<<" + WHITE_POINT + b"/Gamma[2.2 2.2 2.2]"
    b"/Matrix[0.4124 0.2126 0.0193 0.3576 0.7152 0.1192 0.1805 0.0722 0.9505]>>]"
)
CALIBRATED_GRAY = b"[/CalGray<<" + WHITE_POINT + b"/Gamma 2.2>>]"

TO_UNICODE_START = b"""/CIDInit/ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def
/CMapName/Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000><FFFF>
endcodespacerange
"""
TO_UNICODE_END = b"endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n"
MOST_IN_BLOCK = 100  # entries of bfchar (Adobe Technical Note #5014, 1.2)

Object = tuple[bytes, bytes | None, bool]


@dataclass(slots=True)
class _Objects:
    """The objects as they are numbered. The first one is the form, which is known last."""

    found: list[Object] = field(default_factory=lambda: [(b"", None, False)])

    def add(self, entries: bytes, stream: bytes | None = None) -> bytes:
        """Adds an object, and returns what stands for a reference to it."""
        reference = planner.OBJECT_MARK + bytes([65 + len(self.found)])
        self.found.append((entries, stream, stream is not None and len(stream) >= SHARED_BYTES))
        return reference


def make(
    look: SignatureLook,
    layout: Layout,
    font: Font,
    image: EncodedImage | None,
    rules: int,
    subset: Callable[[str], Subset],
) -> planner.Appearance:
    """The objects of an appearance that keeps these rules. `subset` cuts the font for the characters of a text."""
    objects, resources = _Objects(), b""
    is_calibrated = bool(rules & planner.RULE_CALIBRATED)
    glyphs: Mapping[str, int] = {}
    if layout.lines:
        cut = subset("".join(line.text for line in layout.lines))
        glyphs = cut.glyphs
        resources += b"/Font<</F0 " + _font(objects, font, cut, rules) + b">>"
    if image is not None:
        resources += b"/XObject<</I0 " + _image(objects, image, is_calibrated=is_calibrated) + b">>"
    if is_calibrated:
        resources += b"/ColorSpace<</C0" + CALIBRATED_RGB + b">>"
    entries = b"/Type/XObject/Subtype/Form/BBox[0 0 %s %s]/Resources<<%s>>/Filter/FlateDecode" % (
        _real(look.width),
        _real(look.height),
        resources,
    )
    content = zlib.compress(_content(look, layout, glyphs, is_calibrated=is_calibrated), 9)
    objects.found[0] = entries, content, len(content) >= SHARED_BYTES
    return planner.Appearance(objects.found, rules=rules, width=look.width, height=look.height)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def _content(look: SignatureLook, layout: Layout, glyphs: Mapping[str, int], *, is_calibrated: bool) -> bytes:
    parts = [b"q"]
    if look.background is not None:
        parts.append(
            b"%s 0 0 %s %s re f" % (_fill(look.background, is_calibrated), _real(look.width), _real(look.height))
        )
    if layout.picture is not None:
        left, bottom, wide, high = map(_real, layout.picture)
        parts.append(b"q %s 0 0 %s %s %s cm /I0 Do Q" % (wide, high, left, bottom))
    if layout.lines:
        parts.append(b"BT /F0 %s Tf %s" % (_real(layout.font_size), _fill(look.font_colour, is_calibrated)))
        for line in layout.lines:
            codes = b"".join(b"%04X" % glyphs[character] for character in line.text)
            parts.append(b"1 0 0 1 %s %s Tm <%s> Tj" % (_real(line.x), _real(line.y), codes))
        parts.append(b"ET")
    parts.append(b"Q")
    return b"\n".join(parts)


def _fill(colour: int, is_calibrated: bool) -> bytes:
    red, green, blue = (_real(channel / 255) for channel in (colour >> 16, colour >> 8 & 255, colour & 255))
    return (b"/C0 cs %s %s %s sc" if is_calibrated else b"%s %s %s rg") % (red, green, blue)


def _real(value: float) -> bytes:
    return f"{value:.4f}".rstrip("0").rstrip(".").encode()


# --- what it is drawn with ----------------------------------------------------------------------------------------------


def _font(objects: _Objects, font: Font, cut: Subset, rules: int) -> bytes:
    metrics = font.metrics
    tag = "".join(chr(65 + byte % 26) for byte in hashlib.sha256(cut.program).digest()[:6])
    name = f"{tag}+{font.name}".encode()
    program = objects.add(b"/Filter/FlateDecode/Length1 %d" % len(cut.program), zlib.compress(cut.program, 9))
    flags = 4 | metrics.is_fixed | metrics.is_serif << 1
    descriptor = b"/Type/FontDescriptor/FontName/%s/Flags %d/FontBBox[%d %d %d %d]" % (name, flags, *metrics.box)
    descriptor += b"/ItalicAngle 0/Ascent %d/Descent %d/CapHeight %d/StemV 80/FontFile2 %s" % (
        metrics.ascent,
        metrics.descent,
        metrics.cap_height,
        program,
    )
    if rules & planner.RULE_CID_SET:
        descriptor += b"/CIDSet " + objects.add(b"", _cid_set(len(cut.widths)))
    widths = b" ".join(b"%d" % width for width in cut.widths)
    descendant = objects.add(
        b"/Type/Font/Subtype/CIDFontType2/BaseFont/%s/CIDSystemInfo<</Registry%s/Ordering%s/Supplement 0>>"
        b"/FontDescriptor %s/CIDToGIDMap/Identity/W[0[%s]]"
        % (name, _text(b"Adobe"), _text(b"Identity"), objects.add(descriptor), widths)
    )
    to_unicode = objects.add(b"/Filter/FlateDecode", zlib.compress(_to_unicode(cut.glyphs), 9))
    return objects.add(
        b"/Type/Font/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[%s]/ToUnicode %s"
        % (name, descendant, to_unicode)
    )


def _text(text: bytes) -> bytes:
    """A text string, which the planner writes as the document has it."""
    return planner.TEXT_MARK + text + planner.TEXT_MARK


def _cid_set(glyphs: int) -> bytes:
    """A bit for each glyph that the subset has (ISO 32000-1 9.8.3.2)."""
    return bytes(255 << max(0, 8 * (n + 1) - glyphs) & 255 for n in range((glyphs + 7) // 8))


def _to_unicode(glyphs: Mapping[str, int]) -> bytes:
    characters = {number: character for character, number in reversed(list(glyphs.items()))}
    pairs = [
        b"<%04X><%s>\n" % (number, character.encode("utf-16-be").hex().upper().encode())
        for number, character in sorted(characters.items())
    ]
    blocks = [pairs[n : n + MOST_IN_BLOCK] for n in range(0, len(pairs), MOST_IN_BLOCK)]
    return (
        TO_UNICODE_START
        + b"".join(b"%d beginbfchar\n%sendbfchar\n" % (len(block), b"".join(block)) for block in blocks)
        + TO_UNICODE_END
    )


def _image(objects: _Objects, image: EncodedImage, *, is_calibrated: bool) -> bytes:
    entries = b"/Type/XObject/Subtype/Image" + image.entries
    rgb = CALIBRATED_RGB if is_calibrated else b"/DeviceRGB"
    if image.palette:
        entries += b"/ColorSpace[/Indexed%s %d%s]" % (
            rgb,
            len(image.palette) // 3 - 1,
            b" " + objects.add(b"", image.palette),  # ISO 32000-2 8.6.6.3
        )
    elif image.is_gray:
        entries += b"/ColorSpace" + (CALIBRATED_GRAY if is_calibrated else b"/DeviceGray")
    else:
        entries += b"/ColorSpace" + rgb
    if image.mask is not None:
        mask = objects.add(b"/Type/XObject/Subtype/Image/ColorSpace/DeviceGray" + image.mask.entries, image.mask.data)
        entries += b"/SMask " + mask
    return objects.add(entries, image.data)
