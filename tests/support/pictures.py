"""Images for visible signatures, made in code."""

import base64
import io
import random
from typing import Any

from PIL import Image


def picture_bytes(
    kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 20), *, noise: bool = False, **more: Any
) -> bytes:
    """An image of this kind and mode, by Pillow's names. With `noise` no compression makes it smaller."""
    image = Image.new(mode, size)
    if noise:
        image.frombytes(random.Random(5).randbytes(len(image.tobytes())))
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 20), **more: Any) -> str:
    """The same in base64."""
    return base64.b64encode(picture_bytes(kind, mode, size, **more)).decode()


def picture_of(image: Image.Image, kind: str) -> bytes:
    """The image as a PNG, or without its transparency as a JPEG."""
    out = io.BytesIO()
    image.convert("RGBA" if kind == "PNG" else "RGB").save(out, kind)
    return out.getvalue()
