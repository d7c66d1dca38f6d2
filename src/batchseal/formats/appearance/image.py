"""Encodes the picture of a visible signature as image XObjects (ISO 32000-2 8.9.5).

A JPEG is taken as it is, unless its colours are CMYK. A PNG becomes rows with the filters of PNG, which PDF knows as predictors,
and its transparency a soft mask; where none is allowed, it is drawn onto its background first. Pillow decodes. It is imported
with the first picture, and sees only what `visible/picture.py` has found to be what it says, within its limits.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchseal.errors import VisibleSignatureImpossible
from batchseal.signature import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE = 0xFFFFFF


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Entries of the image's dictionary without its colour space, its data, and its soft mask if it has one.

    `is_gray`: its colours are gray, else they are RGB. `palette` holds RGB triples where the samples are numbers of colours.
    """

    entries: bytes
    data: bytes
    is_gray: bool
    palette: bytes = b""
    mask: "EncodedImage | None" = None


def encode(picture: Picture, *, is_opaque: bool, background: int | None) -> EncodedImage:
    """With `is_opaque` there is no soft mask: what shines through is the background, or white.

    Raises VisibleSignatureImpossible for a picture that cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture.content), formats=["JPEG" if picture.is_jpeg else "PNG"]) as image:
            image.load()
            if picture.is_jpeg:
                return _jpeg(image, picture.content)
            return _png(image, is_opaque=is_opaque, background=WHITE if background is None else background)
    except (OSError, ValueError, SyntaxError, struct.error, zlib.error) as problem:
        raise VisibleSignatureImpossible(f"the image is damaged: {problem}") from None


def _jpeg(image: "Image", content: bytes) -> EncodedImage:
    if image.mode not in ("L", "RGB"):
        return _rows(image.convert("RGB"))
    entries = b"/Width %d/Height %d/BitsPerComponent 8/Filter/DCTDecode" % image.size
    return EncodedImage(entries, content, image.mode == "L")


def _png(image: "Image", *, is_opaque: bool, background: int) -> EncodedImage:
    has_alpha = image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info
    if not has_alpha:
        return _rows(_plain(image))
    colours = image.convert("RGBA")
    alpha = colours.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return _rows(colours.convert("L" if image.mode == "LA" else "RGB"))
    if is_opaque:
        from PIL import Image

        red, green, blue = background >> 16, background >> 8 & 255, background & 255
        ground = Image.new("RGBA", image.size, (red, green, blue, 255))
        return _rows(Image.alpha_composite(ground, colours).convert("RGB"))
    opaque = _rows(colours.convert("L" if image.mode == "LA" else "RGB"))
    return EncodedImage(opaque.entries, opaque.data, opaque.is_gray, mask=_rows(alpha))


def _plain(image: "Image") -> "Image":
    """The image in one of the modes 1, L, P and RGB."""
    if image.mode.startswith("I"):  # gray of 16 bits, of which the upper ones are kept
        return image.convert("I").point(lambda sample: sample / 256).convert("L")
    return image if image.mode in ("1", "L", "P", "RGB") else image.convert("RGB")


def _rows(image: "Image") -> EncodedImage:
    """Lets Pillow write a PNG, and takes its rows, which are compressed and filtered as PDF has it too (ISO 32000-2 7.4.4.4)."""
    out = io.BytesIO()
    image.info.clear()
    image.save(out, "PNG", optimize=True)
    png, at, data, palette = out.getvalue(), 8, b"", b""
    depth, kind = png[24], png[25]
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        data += content if name == b"IDAT" else b""
        palette = content if name == b"PLTE" else palette
        at += 12 + length
    entries = b"/Width %d/Height %d/BitsPerComponent %d/Filter/FlateDecode" % (*image.size, depth)
    entries += b"/DecodeParms<</Predictor 15/Colors %d/BitsPerComponent %d/Columns %d>>" % (
        3 if kind == 2 else 1,
        depth,
        image.width,
    )
    return EncodedImage(entries, data, kind == 0, palette)
