"""Every combination of place, rotation, boxes, unit, PDF/A and image of a visible signature, drawn by two readers and judged.

    make appearance-product                             all of them; ARGS="--every 50" for some
    python -m tests.support.appearance_product --every 50

Each file is drawn by poppler and by PDFium before and after: the box around all pixels that changed must be the area, within a
point. Its text must be there for pdftotext, and pyHanko, pdfsig and iText must find the signature good. PDFBox Preflight must say
nothing new of PDF/A-1b.
"""

import argparse
import ctypes
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.validators import itext_verify, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import local_signer
from harness.validators.pdf_a import preflight
from PIL import Image
from tests.support import rendering
from tests.support.pictures import picture_bytes
from tests.support.seen_pages import HEIGHT, WIDTH, Page, description, pdf, sign, stream

from batchseal.formats.pades.placeholder.finder import place_of
from batchseal.formats.pades.placeholder.search import search
from batchseal.signature import LocationType, SignatureLook, SignaturePlace, VisibleSignature
from batchseal.visible.picture import read

TEMPLATE, SAID = "Selado por ${certificate.commonName}", "Selado"
GROUND = 0xDDEEFF
WORD, WORD_AT = "SEAL-HERE", (110, 95)
# What turns text so that it is upright on a page that is turned.
UPRIGHT = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
FIELD, RECTANGLE = "seal", (60, 70, 160, 110)
# The area in points; that of a word must fit beside it on a page that is turned.
AREAS = {LocationType.COORDINATE: (110, 44), LocationType.PLACEHOLDER: (60, 30), LocationType.SIGN_FIELD: (100, 40)}
AT = (10, 15)
TOLERANCE_POINTS = 1.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    kind: LocationType
    page: Page
    has_image: bool

    @property
    def name(self) -> str:
        one = self.page
        said = [
            self.kind.name,
            f"{one.rotation} degrees",
            f"unit {one.unit:g}",
            f"PDF/A-{one.profile}" if one.profile else "plain",
        ]
        said += [word for word, there in (("cropped", one.crops), ("inherited", one.inherits)) if there]
        return ", ".join([*said, "image" if self.has_image else "no image"])


def cases() -> list[Case]:
    return [
        Case(kind, Page(rotation, crops, unit, inherits, profile), has_image)
        for kind, rotation, crops, unit, inherits, profile, has_image in itertools.product(
            LocationType,
            (0, 90, 180, 270),
            (False, True),
            (1.0, 1.25),
            (False, True),
            ("", "1b", "2b", "3b"),
            (False, True),
        )
    ]


def original(case: Case) -> bytes:
    """The page, with a field or a word where the place is one. The word is upright and invisible, which is the usual case."""
    if case.kind is LocationType.COORDINATE:
        return pdf(case.page)
    own = b"" if case.page.inherits else boxes(case.page)
    unit = b"/UserUnit %g" % case.page.unit if case.page.unit != 1 else b""
    page = b"<</Type/Page/Parent 3 0 R%s%s" % (own, unit)
    if case.kind is LocationType.SIGN_FIELD:
        field = b"<</Type/Annot/Subtype/Widget/FT/Sig/T(%s)/F 4/P 4 0 R/Rect[%d %d %d %d]>>" % (
            FIELD.encode(),
            *RECTANGLE,
        )
        page += b"/Contents 5 0 R/Resources<<>>/Annots[8 0 R]>>"
        return pdf(case.page, extra={4: page, 8: field}, catalog=b"/AcroForm<</Fields[8 0 R]>>")
    drawn = b"BT /F1 9 Tf 3 Tr %d %d %d %d %d %d Tm (%s) Tj ET" % (
        *UPRIGHT[case.page.rotation],
        *WORD_AT,
        WORD.encode(),
    )
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    page += b"/Contents[5 0 R 8 0 R]/Resources<</Font<</F1 9 0 R>>>>>>"
    return pdf(case.page, extra={4: page, 8: stream(drawn), 9: font})


def boxes(page: Page) -> bytes:
    left, bottom, right, top = page.box
    crop = b"/CropBox[%g %g %g %g]" % (left, bottom, right, top) if page.crops else b""
    return b"/MediaBox[0 0 %d %d]%s/Rotate %d" % (WIDTH, HEIGHT, crop, page.rotation)


def visible(case: Case, content: bytes) -> VisibleSignature:
    width, height = AREAS[case.kind]
    picture = read(picture_bytes("PNG", "RGBA", (36, 20), noise=True), "", "image") if case.has_image else None
    look = SignatureLook(TEMPLATE, width, height, font_size=9, background=GROUND, picture=picture, picture_scale=0.5)
    place = SignaturePlace(case.kind, 1, *AT)
    if case.kind is LocationType.SIGN_FIELD:
        place = SignaturePlace(case.kind, name=FIELD)
    elif case.kind is LocationType.PLACEHOLDER:
        buffer = ctypes.create_string_buffer(content, len(content))
        place = place_of(SignaturePlace(case.kind, name=WORD), search(buffer, len(content), WORD))
    return VisibleSignature(place, look)


def expected(case: Case) -> Box:
    """Where the contract puts the area, from the lower left corner of the page as it is shown, in the points of a reader that
    does not know /UserUnit."""
    width, height = (side / case.page.unit for side in AREAS[case.kind])
    if case.kind is LocationType.COORDINATE:
        x, y = (value / case.page.unit for value in AT)
        return x, y, x + width, y + height
    if case.kind is LocationType.PLACEHOLDER:
        x, y = shown(case.page, *WORD_AT)
        return x, y - height, x + width, y
    corners = [shown(case.page, RECTANGLE[0], RECTANGLE[1]), shown(case.page, RECTANGLE[2], RECTANGLE[3])]
    (x1, x2), (y1, y2) = (sorted(values) for values in zip(*corners, strict=True))
    return x1, y1, x2, y2


def shown(page: Page, x: float, y: float) -> tuple[float, float]:
    """A point of user space on the page as it is shown, turned clockwise."""
    left, bottom, right, top = page.box
    return {
        0: (x - left, y - bottom),
        90: (y - bottom, right - x),
        180: (right - x, top - y),
        270: (top - y, x - left),
    }[page.rotation]


# --- what readers show ------------------------------------------------------------------------------------------------


@cache
def drawn_before(content: bytes, folder: Path) -> dict[str, Image.Image]:
    return drawn(content, folder)


def drawn(content: bytes, folder: Path) -> dict[str, Image.Image]:
    return {"poppler": rendering.by_poppler(content, folder), "PDFium": rendering.by_pdfium(content)}


def wrong_pictures(case: Case, before: bytes, after: bytes, folder: Path) -> Iterator[str]:
    for reader, picture in drawn(after, folder).items():
        box = rendering.changed(drawn_before(before, folder)[reader], picture)
        if box is None:
            yield f"{reader} shows nothing"
        elif any(abs(edge - wanted) > TOLERANCE_POINTS for edge, wanted in zip(box, expected(case), strict=True)):
            yield f"{reader} shows it at {box} and not at {expected(case)}"
    if SAID not in rendering.text_of(after, folder):
        yield "pdftotext does not find its text"


def judge(chosen: Sequence[Case], folder: Path, counts: Counter[str]) -> list[str]:
    """What was found wrong, by the names of the cases. `counts` gets how many files each judge has seen."""
    wrong, paths, sources = list[str](), dict[Case, Path](), dict[bytes, Path]()
    for number, case in enumerate(chosen):
        before = original(case)
        after = sign(before, description(visible(case, before)))
        if not after.startswith(before):
            wrong.append(f"{case.name}: the original was changed")
        paths[case] = folder / f"{number}.pdf"
        paths[case].write_bytes(after)
        if before not in sources:
            sources[before] = folder / f"source-{len(sources)}.pdf"
            sources[before].write_bytes(before)
        wrong += [f"{case.name}: {problem}" for problem in wrong_pictures(case, before, after, folder)]
        counts.update(["files", "drawn by poppler", "drawn by PDFium"])
    signer = local_signer()
    for case, path in paths.items():
        verdicts = pyhanko_verify(path, signer.root_der)
        if len(verdicts) != 1 or not verdicts[0].good:
            wrong.append(f"{case.name}: pyHanko says {verdicts}")
    poppler = pdfsig_verify(paths.values(), signer.root_pem)
    itext = itext_verify([*paths.values(), *sources.values()])
    complaints = preflight([*sources.values(), *(path for case, path in paths.items() if case.page.profile == "1b")])
    for case, path in paths.items():
        source = sources[original(case)]
        if len(poppler[path]) != 1 or not poppler[path][0].good:
            wrong.append(f"{case.name}: pdfsig says {poppler[path]}")
        if itext[source].pages:
            counts["iText"] += 1
            report = itext[path]
            if report.rebuilt or len(report.verdicts) != 1 or not report.verdicts[0].good:
                wrong.append(f"{case.name}: iText says {report}")
        if case.page.profile == "1b":
            counts["Preflight"] += 1
            if new := complaints[path] - complaints[source]:
                wrong.append(f"{case.name}: Preflight says {new}")
    counts.update({"pyHanko": len(paths), "pdfsig": len(paths)})
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th case")
    parser.add_argument(
        "--start", type=int, default=0, help="from this one on, so that several runs can share the work"
    )
    options = parser.parse_args()
    began, counts = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="batchseal-appearances-") as folder:
        wrong = judge(cases()[options.start :: options.every], Path(folder), counts)
    for problem in wrong:
        print(problem)
    print(f"{dict(counts)}, wrong: {len(wrong)}, {time.monotonic() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
