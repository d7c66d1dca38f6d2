"""The image of the visible signatures that are measured."""

import io
import random
from functools import cache

from PIL import Image


@cache
def noise_image() -> bytes:
    """A PNG of about 20 KB that no compression makes smaller."""
    noise = Image.new("RGB", (83, 80))
    noise.frombytes(random.Random(7).randbytes(83 * 80 * 3))
    out = io.BytesIO()
    noise.save(out, "PNG")
    return out.getvalue()
