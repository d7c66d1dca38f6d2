"""Visible signatures as readers show them, over every way in which a page says what is shown of it.

The matrix is walked pairwise: every value of a factor meets every value of every other one. Twelve of the pictures lie beside
this file, as PDFium draws them; `python -m tests.golden.test_appearance_pictures` writes them anew.
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.validators import itext_verify, judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import local_signer
from PIL import Image, ImageChops, ImageDraw, ImageStat
from tests.support import rendering
from tests.support.pictures import picture_of
from tests.support.seen_pages import Page, description, pdf, seen, sign

from batchseal.signature import SignatureLook
from batchseal.visible.picture import read

FOLDER = Path(__file__).with_name("appearances")
TEMPLATE = r"Signed by ${certificate.commonName}\n$date\n$location, ção"
GROUND = 0xDDEEFF
FACTORS: dict[str, tuple[object, ...]] = {
    "rotation": (0, 90, 180, 270),
    "crops": (False, True),
    "unit": (1.0, 1.25),
    "inherits": (False, True),
    "profile": ("", "1b", "2b", "3b"),
    "image": ("", "PNG", "JPEG"),
    "place": ((10, 15), (25.5, 41.25), (0, 0)),
}
# Both readers put a pixel on each side of an edge that lies between two.
TOLERANCE_POINTS = 1.0
# How much the pictures may differ from those that were kept, of 255: the edges of glyphs, and what JPEG decoders differ in.
TOLERANCE_MEAN, TOLERANCE_PIXEL = 0.5, 96

Case = dict[str, object]


def pairwise() -> list[Case]:
    """Cases in which every pair of values of two factors stands; each case is the best of many that are thrown."""
    names = list(FACTORS)
    missing = {
        ((one, a), (other, b))
        for one, other in itertools.combinations(names, 2)
        for a, b in itertools.product(FACTORS[one], FACTORS[other])
    }
    chance, cases = random.Random(2026), list[Case]()
    while missing:
        thrown = [{name: chance.choice(values) for name, values in FACTORS.items()} for _ in range(200)]
        best = max(thrown, key=lambda case: len(pairs(case) & missing))
        missing -= pairs(best)
        cases.append(best)
    return cases


def pairs(case: Case) -> set[tuple[tuple[str, object], tuple[str, object]]]:
    return set(itertools.combinations(case.items(), 2))


def logo() -> Image.Image:
    """A sign that is not the same from any other side, with an edge that fades."""
    image = Image.new("RGBA", (36, 30), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 35, 29), fill=(200, 30, 30, 255))
    draw.polygon([(4, 26), (4, 4), (20, 26)], fill=(255, 255, 255, 255))
    for x in range(20, 36):
        draw.line((x, 0, x, 12), fill=(200, 30, 30, 255 - 16 * (x - 20)))
    return image


def page_of(case: Case) -> Page:
    return Page(**{name: case[name] for name in ("rotation", "crops", "unit", "inherits", "profile")})  # type: ignore[arg-type]


def place_of(case: Case) -> tuple[float, float]:
    place = case["place"]
    assert isinstance(place, tuple)
    return place


def signed(case: Case) -> tuple[bytes, bytes]:
    """The page before and after, with an area of 110 x 44 points."""
    kind = str(case["image"])
    found = read(picture_of(logo(), kind), "", "image") if kind else None
    look = SignatureLook(TEMPLATE, 110, 44, font_size=9, background=GROUND, picture=found)
    x, y = place_of(case)
    original = pdf(page_of(case))
    return original, sign(original, description(seen(look, x=x, y=y), location="Óbidos"))


def expected(case: Case) -> tuple[float, float, float, float]:
    """Where the contract puts the area, in the points of a reader that does not know /UserUnit."""
    x, y = place_of(case)
    unit = float(case["unit"])  # type: ignore[arg-type]
    return x / unit, y / unit, (x + 110) / unit, (y + 44) / unit


CASES = pairwise()
NAMES = [f"{n:02}" for n in range(len(CASES))]
KEPT = dict(zip(NAMES[:12], CASES[:12], strict=True))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_signature_is_seen_where_it_was_asked_for_and_nothing_else_changes(case: Case, tmp_path: Path) -> None:
    original, content = signed(case)
    assert content.startswith(original)
    pictures = {"PDFium": (rendering.by_pdfium(original), rendering.by_pdfium(content))}
    with judging():
        pictures["poppler"] = rendering.by_poppler(original, tmp_path), rendering.by_poppler(content, tmp_path)
        text = rendering.text_of(content, tmp_path)
    for reader, (before, after) in pictures.items():
        box = rendering.changed(before, after)
        assert box is not None, reader
        for edge, wanted in zip(box, expected(case), strict=True):
            assert abs(edge - wanted) <= TOLERANCE_POINTS, (reader, box, expected(case))
        left, bottom, right, top = box
        corner = after.getpixel((round(right * 2) - 4, round(after.height - top * 2) + 4))
        assert all(abs(a - b) <= 2 for a, b in zip(corner, (0xDD, 0xEE, 0xFF), strict=True)), (reader, corner)  # type: ignore[arg-type]
        if case["image"]:
            # The picture stands at the left, upright: its lower left corner is red and its triangle is white.
            inside = after.getpixel((round(left * 2) + 3, round(after.height - bottom * 2) - 20))
            assert inside[0] > 150 and inside[1] < 90, (reader, inside)  # type: ignore[index]
    assert "Test signer" in text and "Óbidos, ção" in text and "2026-11-21" in text


def test_judges_take_what_is_signed(tmp_path: Path) -> None:
    paths = {}
    for name, case in zip(NAMES, CASES, strict=True):
        paths[name] = tmp_path / f"{name}.pdf"
        paths[name].write_bytes(signed(case)[1])
    signer = local_signer()
    for path in paths.values():
        (verdict,) = pyhanko_verify(path, signer.root_der)
        assert verdict.good, verdict
    with judging():
        for path, found in pdfsig_verify(paths.values(), signer.root_pem).items():
            assert len(found) == 1 and found[0].good, (path.name, found)
        for path, report in itext_verify(paths.values()).items():
            assert not report.rebuilt and len(report.verdicts) == 1 and report.verdicts[0].good, (path.name, report)


@pytest.mark.parametrize("name", KEPT)
def test_a_picture_is_as_it_was(name: str) -> None:
    with Image.open(FOLDER / f"{name}.png") as file:
        kept = file.convert("RGB")
    found = drawn(KEPT[name])
    assert found.size == kept.size
    difference = ImageChops.difference(found, kept)
    assert max(ImageStat.Stat(difference).mean) <= TOLERANCE_MEAN
    assert max(high for _, high in difference.getextrema()) <= TOLERANCE_PIXEL  # type: ignore[misc]


def test_the_matrix_has_every_pair() -> None:
    assert len(CASES) < 40
    found = set().union(*map(pairs, CASES))
    assert len(found) == sum(
        len(FACTORS[one]) * len(FACTORS[other]) for one, other in itertools.combinations(FACTORS, 2)
    )


def drawn(case: Case) -> Image.Image:
    return rendering.by_pdfium(signed(case)[1], pixels_per_point=1.5)


def written() -> Iterator[Path]:
    FOLDER.mkdir(exist_ok=True)
    for name, case in KEPT.items():
        path = FOLDER / f"{name}.png"
        drawn(case).save(path, optimize=True)
        yield path


if __name__ == "__main__":
    print(*written(), sep="\n")
