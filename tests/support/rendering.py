"""Pages as two readers show them: poppler (pdftoppm) and PDFium. Both ignore /UserUnit."""

import subprocess
from pathlib import Path

import pypdfium2
from harness.validators import tool
from PIL import Image, ImageChops

PIXELS_PER_POINT = 2


def by_poppler(content: bytes, folder: Path, page: int = 1) -> Image.Image:
    """Raises MissingValidator."""
    source, target = folder / "shown.pdf", folder / "shown"
    source.write_bytes(content)
    command = [tool("pdftoppm"), "-cropbox", "-singlefile", "-f", str(page), "-l", str(page), "-png"]
    subprocess.run([*command, "-r", str(72 * PIXELS_PER_POINT), source, target], check=True, timeout=240)
    with Image.open(target.with_suffix(".png")) as image:
        return image.convert("RGB")


def by_pdfium(content: bytes, page: int = 1, *, pixels_per_point: float = PIXELS_PER_POINT) -> Image.Image:
    document = pypdfium2.PdfDocument(content)
    try:
        document.init_forms()  # which draws the widgets
        shown = document[page - 1]
        try:
            return shown.render(scale=pixels_per_point, may_draw_forms=True).to_pil().convert("RGB")
        finally:
            shown.close()
    finally:
        document.close()


def changed(before: Image.Image, after: Image.Image) -> tuple[float, float, float, float] | None:
    """The box around all pixels that differ: left, bottom, right and top in points from the lower left corner."""
    assert before.size == after.size
    box = ImageChops.difference(before, after).getbbox()
    if box is None:
        return None
    left, top, right, bottom = (edge / PIXELS_PER_POINT for edge in box)
    height = before.height / PIXELS_PER_POINT
    return left, height - bottom, right, height - top


def text_of(content: bytes, folder: Path) -> str:
    """All text, that of annotations included. Raises MissingValidator."""
    source = folder / "text.pdf"
    source.write_bytes(content)
    done = subprocess.run([tool("pdftotext"), "-layout", source, "-"], check=True, capture_output=True, timeout=240)
    return done.stdout.decode()
