"""What a visible signature is made of: fonts, layout, images and the objects around them."""

import io
import re
import zlib
from typing import Any

import pytest
from fontTools.ttLib import TTFont
from PIL import Image
from tests.support.pictures import picture_bytes
from tests.support.seen_pages import SIGNING_TIME, credential

from batchseal._native import planner
from batchseal.errors import VisibleSignatureImpossible
from batchseal.formats.appearance import font, image
from batchseal.formats.appearance.cache import ENTRY_BYTES, Appearances, Kept
from batchseal.formats.appearance.layout import clean, lay_out
from batchseal.formats.appearance.values import template_values
from batchseal.signature import Picture, SignatureLook
from batchseal.visible.picture import read

NAMES = ("LiberationSans", "LiberationSerif", "LiberationMono")
SANS = font.load("LiberationSans")
ACCENTS = "Fatura nº 12 — Ação, Größe, Ελληνικά, Привет, €"


def look(width: float = 155, height: float = 50, size: float = 11, picture: Picture | None = None) -> SignatureLook:
    return SignatureLook("", width, height, font_size=size, picture=picture)


def a_picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 20), **more: Any) -> Picture:
    return read(picture_bytes(kind, mode, size, **more), "", "image")


# --- fonts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_subset_draws_what_the_font_draws(name: str) -> None:
    """fontTools, which has no part in cutting it, finds the same outlines and widths in the subset as in the font."""
    cut = font.load(name).subset(ACCENTS)
    whole, part = TTFont(font.FOLDER / f"{name}-Regular.ttf"), TTFont(io.BytesIO(cut.program))
    names = whole.getBestCmap()
    before, after = whole.getGlyphSet(), part.getGlyphSet()
    from fontTools.pens.recordingPen import DecomposingRecordingPen

    for character, glyph in cut.glyphs.items():
        pens = DecomposingRecordingPen(before), DecomposingRecordingPen(after)
        before[names[ord(character)]].draw(pens[0])
        after[part.getGlyphName(glyph)].draw(pens[1])
        assert pens[0].value == pens[1].value, character
        width = whole["hmtx"][names[ord(character)]][0]
        assert part["hmtx"][part.getGlyphName(glyph)][0] == width
        assert cut.widths[glyph] == round(width * 1000 / whole["head"].unitsPerEm)
    assert part["maxp"].numGlyphs == len(cut.widths) < 100
    assert len(cut.program) < 20_000


@pytest.mark.parametrize("name", NAMES)
def test_a_font_is_read_as_others_read_it(name: str) -> None:
    own, whole = font.load(name), TTFont(font.FOLDER / f"{name}-Regular.ttf")
    characters = {code for code in whole.getBestCmap() if code < 0xFFFF}
    assert characters == {code for code in range(0xFFFF) if own.has(chr(code))}
    assert own.metrics.ascent == round(whole["hhea"].ascent * 1000 / whole["head"].unitsPerEm)
    assert own.metrics.cap_height == round(whole["OS/2"].sCapHeight * 1000 / whole["head"].unitsPerEm)
    assert whole["OS/2"].fsType == 0, "the font may be embedded"


@pytest.mark.parametrize(
    ("asked", "found", "known"),
    [
        ("arial", "LiberationSans", True),
        ("Helvetica", "LiberationSans", True),
        ("Times New Roman", "LiberationSerif", True),
        ("times-roman", "LiberationSerif", True),
        ("Courier New", "LiberationMono", True),
        ("Liberation Serif", "LiberationSerif", True),
        ("sans-serif", "LiberationSans", True),
        ("Comic Sans", "LiberationSans", False),
    ],
)
def test_a_font_has_the_names_of_its_twins(asked: str, found: str, known: bool) -> None:
    assert font.named(asked) == (found, known)


# --- layout -------------------------------------------------------------------------------------------------------------


def test_lines_are_broken_where_the_text_says_and_between_words() -> None:
    found = lay_out(look(), clean("Digitally signed by\nTest signer of a house with a long name", SANS), SANS)
    assert found.lines[0].text == "Digitally signed by"
    assert " ".join(line.text for line in found.lines[1:]) == "Test signer of a house with a long name"
    for line in found.lines:
        assert SANS.width(line.text) * found.font_size / 1000 + line.x <= 155
        assert 0 < line.y < 50
    assert found.font_size == 11


def test_a_text_that_is_too_long_becomes_smaller_and_at_last_is_refused() -> None:
    small = lay_out(look(), "Digitally signed by somebody " * 6, SANS)
    assert 4 <= small.font_size < 11
    broken = lay_out(look(60, 60), "W" * 40, SANS)
    assert len(broken.lines) > 1 and "".join(line.text for line in broken.lines) == "W" * 40
    with pytest.raises(VisibleSignatureImpossible, match="does not fit into the area of 155 x 50 points"):
        lay_out(look(), "Digitally signed by somebody " * 60, SANS)
    with pytest.raises(VisibleSignatureImpossible, match="does not fit"):
        lay_out(look(155, 3), "a", SANS)


def test_text_stands_beside_an_image_where_there_is_room_and_over_it_elsewhere() -> None:
    beside = lay_out(look(picture=a_picture(size=(40, 40))), "Signed", SANS)
    assert beside.picture == (0, 5, 40, 40) and beside.lines[0].x == 44
    over = lay_out(look(picture=a_picture(size=(150, 50))), "Signed", SANS)
    assert over.lines[0].x == 2
    alone = lay_out(look(picture=a_picture(size=(40, 40))), "", SANS)
    assert alone.picture == (57.5, 5, 40, 40) and not alone.lines


def test_an_area_that_is_smaller_than_its_image_is_refused() -> None:
    lay_out(look(picture=a_picture(size=(155, 50))), "", SANS)
    for size in ((156, 50), (155, 51)):
        with pytest.raises(VisibleSignatureImpossible, match="smaller than the image"):
            lay_out(look(picture=a_picture(size=size)), "", SANS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("漢", "U+6F22 CJK UNIFIED IDEOGRAPH-6F22"),
        ("😀", "U+1F600 GRINNING FACE"),
        ("م", "U+0645 ARABIC LETTER MEEM"),
        ("ש", "from right to left"),
        ("x\u0489", "U+0489"),
        ("ก", "U+0E01"),
    ],
)
def test_a_glyph_that_the_font_has_not_is_named(text: str, named: str) -> None:
    with pytest.raises(VisibleSignatureImpossible, match=re.escape(named)):
        clean(text, SANS)


def test_what_can_be_composed_is_and_what_is_not_seen_is_left_out() -> None:
    assert clean("Ac\u0327a\u0303o\t\u200b\u00ada\r\nb\x07", SANS) == "Ação a\nb"


# --- images -------------------------------------------------------------------------------------------------------------


def samples(encoded: image.EncodedImage) -> Image.Image:
    """The image as a PDF reader has it: a PNG is put around its rows again."""
    width, height, depth = (
        int(re.search(rb"/%s (\d+)" % key, encoded.entries)[1])  # type: ignore[index]
        for key in (b"Width", b"Height", b"BitsPerComponent")
    )
    kind = 3 if encoded.palette else 0 if encoded.is_gray else 2

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, kind, 0, 0, 0])
    palette = chunk(b"PLTE", encoded.palette) if encoded.palette else b""
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", encoded.data) + chunk(b"IEND", b"")
    return Image.open(io.BytesIO(png)).convert("RGB")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("interlace", [False, True])
def test_a_png_keeps_its_colours_and_its_transparency(mode: str, interlace: bool) -> None:
    content = picture_bytes("PNG", mode, (37, 19), noise=True)
    source = Image.open(io.BytesIO(content))
    encoded = image.encode(read(content, "", "x"), is_opaque=False, background=None)
    assert list(samples(encoded).get_flattened_data()) == list(source.convert("RGB").get_flattened_data())
    assert (encoded.mask is not None) == (mode in ("LA", "RGBA"))
    if encoded.mask is not None:
        assert list(samples(encoded.mask).convert("L").get_flattened_data()) == list(
            source.getchannel("A").get_flattened_data()
        )


def test_sixteen_bits_a_sample_become_eight() -> None:
    grey = Image.new("I;16", (4, 1))
    for x, value in enumerate((0, 255, 0x8000, 0xFFFF)):
        grey.putpixel((x, 0), value)
    out = io.BytesIO()
    grey.save(out, "PNG")
    encoded = image.encode(read(out.getvalue(), "", "x"), is_opaque=False, background=None)
    assert encoded.is_gray and list(samples(encoded).getchannel("R").get_flattened_data()) == [0, 0, 0x80, 0xFF]


def test_where_no_transparency_is_allowed_the_image_is_drawn_onto_the_background() -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    half.putpixel((1, 0), (255, 0, 0, 0))
    out = io.BytesIO()
    half.save(out, "PNG")
    source = read(out.getvalue(), "", "x")
    for background, shines in ((None, (255, 255, 255)), (0x102030, (0x10, 0x20, 0x30))):
        encoded = image.encode(source, is_opaque=True, background=background)
        assert encoded.mask is None
        assert list(samples(encoded).get_flattened_data()) == [(255, 0, 0), shines]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_taken_as_it_is(mode: str) -> None:
    content = picture_bytes("JPEG", mode, (24, 16), noise=True)
    encoded = image.encode(read(content, "", "x"), is_opaque=True, background=None)
    assert encoded.data == content and b"/DCTDecode" in encoded.entries and encoded.is_gray == (mode == "L")


def test_a_jpeg_in_cmyk_becomes_rgb_and_a_damaged_one_is_refused() -> None:
    encoded = image.encode(a_picture("JPEG", "CMYK", (24, 16)), is_opaque=False, background=None)
    assert b"/FlateDecode" in encoded.entries and not encoded.is_gray
    whole = picture_bytes("JPEG", "RGB", (200, 160), noise=True)
    cut = Picture(whole[: len(whole) // 2], True, 200, 160)
    with pytest.raises(VisibleSignatureImpossible, match="the image is damaged"):
        image.encode(cut, is_opaque=False, background=None)


# --- objects ------------------------------------------------------------------------------------------------------------


def test_the_objects_of_an_appearance_refer_to_each_other_and_large_data_is_shared() -> None:
    wanted = look(picture=a_picture(mode="RGBA", size=(40, 40), noise=True))
    found = Appearances().appearance(wanted, "Signed by Ação", 0, varies=False)
    entries = b"\n".join(one for one, _, _ in found.objects)
    references = {ord(one[1:]) - 65 for one in re.findall(planner.OBJECT_MARK + b"(?s:.)", entries)}
    assert references == set(range(1, len(found.objects)))
    assert found.objects[0][0].startswith(b"/Type/XObject/Subtype/Form/BBox[0 0 155 50]")
    assert b"(" not in entries, "text strings are written by the planner"
    assert b"/SMask" in entries and b"/CIDSet" not in entries and b"CalRGB" not in entries
    large = [len(stream) for _, stream, is_shared in found.objects if stream is not None and is_shared]
    assert len(large) >= 2
    assert sum(len(one) + (0 if shared else len(stream or b"")) for one, stream, shared in found.objects) < 3000


def test_an_appearance_keeps_the_rules_of_the_document() -> None:
    wanted = look(picture=a_picture(mode="RGBA", size=(40, 40)))
    rules = planner.RULE_CALIBRATED | planner.RULE_OPAQUE | planner.RULE_CID_SET
    found = Appearances().appearance(wanted, "Signed", rules, varies=False)
    entries = b"\n".join(one for one, _, _ in found.objects)
    assert found.rules == rules
    assert b"/CIDSet" in entries and b"/CalRGB" in entries
    assert b"/SMask" not in entries and b"/DeviceRGB" not in entries
    content = zlib.decompress(found.objects[0][1] or b"")
    assert b" sc" in content and b" rg" not in content


def test_the_text_can_be_found_again() -> None:
    found = Appearances().appearance(look(), "fi Ação", 0, varies=False)
    (content,) = [zlib.decompress(stream or b"") for _, stream, _ in found.objects[:1]]
    maps = [zlib.decompress(s) for e, s, _ in found.objects if s and e == b"/Filter/FlateDecode"]
    table = dict(re.findall(rb"<([0-9A-F]{4})><([0-9A-F]{4})>\n", maps[0]))
    codes = re.findall(rb"[0-9A-F]{4}", re.search(rb"<([0-9A-F]+)> Tj", content)[1])  # type: ignore[index]
    assert "".join(chr(int(table[code], 16)) for code in codes) == "fi Ação"


def test_a_date_that_changes_needs_no_other_font() -> None:
    appearances = Appearances()
    wanted = SignatureLook("$date", 155, 50)
    one, other = (appearances.appearance(wanted, text, 0, varies=False) for text in ("2026-11-21", "2037-05-28"))
    fonts = [{s for e, s, _ in found.objects if s and b"Length1" in e} for found in (one, other)]
    assert fonts[0] == fonts[1]


def test_what_is_kept_has_a_limit_and_what_was_not_used_goes_first() -> None:
    kept = Kept(3 * (ENTRY_BYTES + 100))
    made: list[str] = []

    def get(key: str, size: int = 100) -> str:
        return kept.get(key, lambda: made.append(key) or key, lambda _: size)  # type: ignore[func-returns-value]

    for key in ("a", "b", "c", "a", "d", "a", "b"):
        assert get(key) == key
    assert made == ["a", "b", "c", "d", "b"]
    get("large", 1 << 20)
    assert kept.kept_bytes <= 3 * (ENTRY_BYTES + 100)


def test_a_template_is_filled_from_the_certificate() -> None:
    values = template_values(credential().chain[0], SIGNING_TIME, None, "Óbidos")
    assert values["certificate.commonName"] == "Test signer" and values["certificate.issuerCommonName"] == "Test root"
    assert values["certificate.organization"] == "" == values["reason"] and values["location"] == "Óbidos"
    assert values["date"] == "2026-11-21 12:00:00 UTC"
    assert int(values["certificate.serialNumber"], 16) > 0 and len(values["certificate.notAfter"]) == 10
