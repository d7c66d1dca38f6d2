"""The planner with an appearance: which page, where on it, what the document demands, and offsets behind what is left out."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.validators import judging, tool
from harness.validators.samples import Objects, with_table
from tests.support.pictures import picture_bytes
from tests.support.seen_pages import (
    SIGNING_TIME,
    Page,
    credential,
    description,
    icc_profile,
    pdf,
    refused,
    seen,
    sign,
    stream,
    xmp,
)

from batchseal._native import planner
from batchseal._native.pdf_encryption import Encryption
from batchseal.document import Prepared
from batchseal.formats.pades.pades import Pades
from batchseal.operation import SignError
from batchseal.signature import SignatureLook
from batchseal.visible.picture import read

TIME = "D:20261121120000Z"
LOOK = SignatureLook("Signed", 110, 44, background=0xDDEEFF)
FORM = (b"/Type/XObject/Subtype/Form/BBox[0 0 110 44]/Resources<</XObject<</I0 \x01B>>>>", b"/I0 Do", False)
IMAGE = (b"/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray", b"x" * 300, True)


def appearance(*, rules: int = 0, shared: bool = True) -> planner.Appearance:
    return planner.Appearance([FORM, (*IMAGE[:2], shared)], rules=rules, width=110, height=44)


def plan(
    original: bytes, found: planner.Appearance | None = None, **place: Any
) -> planner.PlannedUpdate | planner.OtherRules | planner.OtherArea | planner.PlanRefusal:
    answer = planner.plan(
        original,
        contents_bytes=64,
        signing_time=TIME,
        appearance=found or appearance(),
        **{"x": 10, "y": 15, **place},
    )
    assert not isinstance(answer, Encryption)
    return answer


def planned(original: bytes, found: planner.Appearance | None = None, **place: Any) -> planner.PlannedUpdate:
    update = plan(original, found, **place)
    assert isinstance(update, planner.PlannedUpdate), update
    return update


def whole(original: bytes, update: planner.PlannedUpdate, shared: bytes = IMAGE[1] or b"") -> bytes:
    tail, at = b"", 0
    for offset in update.inserted:
        tail += update.tail[at:offset] + shared
        at = offset
    return original + update.head + b"<" + b"0" * (update.reserved_bytes - 2) + b">" + tail + update.tail[at:]


def without_id(content: bytes) -> bytes:
    """The second half of the identifier is new with each update."""
    return re.sub(rb"<[0-9A-F]{32}>\]", b"", content)


def rectangle(update: planner.PlannedUpdate) -> tuple[float, ...]:
    found = re.search(rb"/Rect\[([^\]]*)\]/AP", update.tail)
    assert found is not None
    return tuple(map(float, found[1].split()))


# --- pages --------------------------------------------------------------------------------------------------------------


def test_a_page_is_found_in_a_tree_of_several_levels() -> None:
    original = pdf(Page(), pages=4)
    for number, target in ((1, b"20 0 R"), (3, b"22 0 R"), (4, b"4 0 R")):
        small = planner.Appearance([FORM, IMAGE], rules=0, width=20, height=20)
        assert b"/P " + target in planned(original, small, page=number).tail


@pytest.mark.parametrize(("page", "last"), [(5, 4), (2, 1), (2**31, 4)])
def test_a_page_that_is_not_there_is_refused_with_how_many_there_are(page: int, last: int) -> None:
    refusal = plan(pdf(Page(), pages=last), page=page)
    assert isinstance(refusal, planner.PlanRefusal)
    assert refusal.code == "no_such_page" and refusal.message.endswith(f"(page {page} of {last})")


def test_a_circle_among_the_nodes_ends() -> None:
    objects: Objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R 2 0 R]/Count 2>>",
        3: b"<</Type/Pages/Kids[2 0 R 4 0 R 3 0 R]/Count 9>>",
        4: b"<</Type/Page/MediaBox[0 0 200 100]>>",
    }
    assert b"/P 4 0 R" in planned(with_table(objects), page=1).tail
    refusal = plan(with_table(objects), page=2)
    assert isinstance(refusal, planner.PlanRefusal) and "(page 2 of 1)" in refusal.message


BOXES = [
    (b"/MediaBox[0 0 200 100]", (10, 15, 120, 59)),
    (b"/MediaBox[200 100 0 0]", (10, 15, 120, 59)),
    (b"/MediaBox[-50 -20 200 100]", (-40, -5, 70, 39)),
    (b"/MediaBox[0 0 200 100]/CropBox[20.5 10 180 90]", (30.5, 25, 140.5, 69)),
    # A crop box is cut to the media box, and one that lies outside does not count.
    (b"/MediaBox[0 0 200 100]/CropBox[-90 -90 180 90]", (10, 15, 120, 59)),
    (b"/MediaBox[0 0 200 100]/CropBox[300 300 400 400]", (10, 15, 120, 59)),
    (b"/MediaBox[0 0 200 100]/CropBox[1 2 (x) 4]", (10, 15, 120, 59)),
    (b"/MediaBox[0 0 7 0 R 8 0 R]", (10, 15, 120, 59)),
    (b"/MediaBox 9 0 R/Rotate 7 0 R", (10, 15, 120, 59)),  # 200 is no turn
    (b"/Rotate -270/MediaBox[0 0 100 200]", (41, 10, 85, 120)),
    (b"/Rotate 450/MediaBox[0 0 100 200]", (41, 10, 85, 120)),
    (b"/Rotate 180/MediaBox[0 0 200 100]", (80, 41, 190, 85)),
    (b"/Rotate 270/MediaBox[0 0 100 200]", (15, 80, 59, 190)),
    (b"/MediaBox[0 0 200 100]/UserUnit 2", (5, 7.5, 60, 29.5)),
    (b"/MediaBox[0 0 200 100]/UserUnit -1", (10, 15, 120, 59)),
    (b"", (10, 15, 120, 59)),
]


@pytest.mark.parametrize("inherits", [False, True])
@pytest.mark.parametrize(("boxes", "expected"), BOXES, ids=[boxes.decode() or "none" for boxes, _ in BOXES])
def test_the_area_is_where_the_page_is_shown(boxes: bytes, expected: tuple[float, ...], inherits: bool) -> None:
    if inherits and b"UserUnit" in boxes:
        inherited, own = b"", boxes  # this entry is the page's alone
    else:
        inherited, own = (
            (boxes, b"") if inherits else (b"/MediaBox[0 0 9 9]/Rotate 90" if b"Rotate" in boxes else b"", boxes)
        )
    objects: Objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1%s>>" % inherited,
        3: b"<</Type/Pages/Kids[4 0 R]/Count 1/Parent 2 0 R>>",
        4: b"<</Type/Page/Parent 3 0 R%s>>" % own,
        7: b"200",
        8: b"100",
        9: b"[0 0 200 100]",
    }
    assert rectangle(planned(with_table(objects))) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(("x", "y"), [(91, 15), (10, 57), (-1, 15), (10, -0.5), (1e12, 1), (float("nan"), 1)])
def test_an_area_beyond_an_edge_is_refused_with_the_size_of_the_page(x: float, y: float) -> None:
    refusal = plan(with_table(one_page(b"/MediaBox[10 10 210 110]")), x=x, y=y)
    assert isinstance(refusal, planner.PlanRefusal)
    assert refusal.code == "outside_page" and refusal.message.endswith("(page 1 has 200 x 100 points)")


def one_page(entries: bytes, catalog: bytes = b"", extra: Objects | None = None) -> dict[int, bytes]:
    return {
        1: b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        2: b"<</Type/Pages/Kids[4 0 R]/Count 1>>",
        4: b"<</Type/Page/Parent 2 0 R%s>>" % entries,
        **(extra or {}),
    }


@pytest.mark.parametrize(("rotation", "point"), [(0, (60, 90)), (90, (60, 90)), (180, (150, 60)), (270, (60, 120))])
def test_an_upper_left_corner_in_user_space_is_found_on_the_page_as_it_is_shown(
    rotation: int, point: tuple[int, int]
) -> None:
    """The corner of the rectangle that is the upper left one for a reader is the point that was asked for."""
    update = planned(
        with_table(one_page(b"/MediaBox[0 0 200 200]/Rotate %d" % rotation)), x=point[0], y=point[1], is_upper_left=True
    )
    left, bottom, right, top = rectangle(update)
    corner = {0: (left, top), 90: (left, bottom), 180: (right, bottom), 270: (right, top)}[rotation]
    assert corner == pytest.approx(point)


# --- what is left out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["table", "stream", "broken"])
def test_offsets_count_what_is_left_out(kind: str, tmp_path: Path) -> None:
    """With the shared stream in its place the file is the same as one that shares nothing."""
    original = pdf(Page())
    if kind == "broken":
        original = original.replace(b"startxref", b"startxxxx")
    if kind == "stream":
        with judging():
            qpdf = tool("qpdf")
        (tmp_path / "a.pdf").write_bytes(original)
        command = [
            qpdf,
            "--object-streams=generate",
            "--static-id",
            *(str(tmp_path / name) for name in ("a.pdf", "b.pdf")),
        ]
        subprocess.run(command, check=True)
        original = (tmp_path / "b.pdf").read_bytes()
    shared, alone = planned(original), planned(original, appearance(shared=False))
    assert len(shared.inserted) == 1 and alone.inserted == ()
    content = whole(original, shared)
    assert without_id(content) == without_id(whole(original, alone))
    assert shared.byte_range == alone.byte_range and sum(shared.byte_range[2:]) == len(content)
    assert len(shared.tail) == len(alone.tail) - 300
    with judging():
        path = tmp_path / "signed.pdf"
        path.write_bytes(content)
        done = subprocess.run([tool("qpdf"), "--check", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_text_strings_and_references_stand_where_the_marks_are() -> None:
    found = planner.Appearance(
        [FORM, IMAGE, (b"/Registry\x02Adobe (a)\x02/Next[\x01A \x01C]", None, False)], rules=0, width=110, height=44
    )
    original = pdf(Page())
    tail = planned(original, found).tail
    first = int(re.search(rb"(\d+) 0 obj\n<</Type/XObject/Subtype/Form", tail)[1])  # type: ignore[index]
    assert b"/Registry(Adobe \\(a\\))/Next[%d 0 R %d 0 R]" % (first, first + 2) in tail


def test_an_appearance_that_is_too_large_or_empty_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="from 1 to 12"):
        planner.Appearance([], rules=0, width=1, height=1)
    with pytest.raises(ValueError, match="from 1 to 12"):
        planner.Appearance([FORM] * 13, rules=0, width=1, height=1)
    refusal = plan(pdf(Page()), planner.Appearance([FORM, (b"x" * 33_000, None, False)], rules=0, width=110, height=44))
    assert isinstance(refusal, planner.PlanRefusal) and refusal.code == "limit_size"


def test_an_update_with_an_appearance_stays_below_its_bound() -> None:
    """Head and tail of the smallest document, with as much in the appearance as there may be."""
    entries = b"/K " + b"\x01B" * 16_000
    found = planner.Appearance([FORM, (entries, None, False)], rules=0, width=20, height=20)
    original = with_table(one_page(b"/MediaBox[0 0 200 100]"))
    update = plan(original, found)
    if isinstance(update, planner.PlannedUpdate):
        bound = planner.update_bound(len(original)) + 4 * (len(entries) + 200)
        assert len(update.head) + len(update.tail) <= bound
    else:
        assert isinstance(update, planner.PlanRefusal) and update.code == "limit_update"


# --- rules --------------------------------------------------------------------------------------------------------------

CALIBRATED, OPAQUE, CID_SET = planner.RULE_CALIBRATED, planner.RULE_OPAQUE, planner.RULE_CID_SET
RULES = [
    (Page(), 0),
    (Page(profile="1b"), OPAQUE | CID_SET),
    (Page(profile="1a"), OPAQUE | CID_SET),
    (Page(profile="2b"), 0),
    (Page(profile="3b"), 0),
    (Page(profile="1b", colours=1), OPAQUE | CID_SET | CALIBRATED),
    (Page(profile="2b", colours=1), CALIBRATED),
]


@pytest.mark.parametrize(("page", "rules"), RULES)
def test_the_rules_of_a_document_are_found(page: Page, rules: int) -> None:
    original = pdf(page)
    for others in set(range(8)) - {rules}:
        assert plan(original, appearance(rules=others)) == planner.OtherRules(rules)
    planned(original, appearance(rules=rules))


def rules_of(catalog: bytes, extra: Objects) -> int:
    found = plan(with_table(one_page(b"/MediaBox[0 0 200 100]", catalog, extra)), appearance(rules=7))
    return found.rules if isinstance(found, planner.OtherRules) else 7


INTENT = b"<</Type/OutputIntent/S/%s/DestOutputProfile %d 0 R>>"
PROFILES = {8: stream(icc_profile(3), b"/N 3"), 9: stream(b"cmyk", b"/N 4")}


@pytest.mark.parametrize(
    ("catalog", "metadata", "rules"),
    [
        # An element or an attribute, quotes of either kind, spaces; a stream that is compressed.
        (b"", b'<a pdfaid:part="1"/>', OPAQUE | CID_SET | CALIBRATED),
        (b"", b"<a pdfaid:part = '2'/>", OPAQUE | CALIBRATED),
        (b"", xmp("3", "B"), OPAQUE | CALIBRATED),
        (b"/OutputIntents[" + INTENT % (b"GTS_PDFA1", 8) + b"]", xmp("3", "B"), 0),
        (b"/OutputIntents[" + INTENT % (b"GTS_PDFX", 9) + INTENT % (b"GTS_PDFA1", 8) + b"]", xmp("2", "B"), 0),
        (b"/OutputIntents[" + INTENT % (b"GTS_PDFA1", 9) + b"]", xmp("2", "B"), CALIBRATED),
        (b"/OutputIntents[" + INTENT % (b"GTS_PDFX", 9) + b"]", b"<x/>", CALIBRATED),
        (b"/OutputIntents[<</S/GTS_PDFA1/OutputConditionIdentifier(sRGB)>>]", xmp("2", "B"), OPAQUE | CALIBRATED),
        # What says nothing that can be read is as good as not there.
        (b"/OutputIntents 99 0 R", b"<pdfaid:part>B</pdfaid:part>", 0),
        (b"/OutputIntents[7]", b"", 0),
    ],
)
def test_rules_follow_from_metadata_and_output_intents(catalog: bytes, metadata: bytes, rules: int) -> None:
    extra: Objects = {7: stream(metadata, b"/Type/Metadata/Subtype/XML"), **PROFILES}
    assert rules_of(catalog + b"/Metadata 7 0 R", extra) == rules


def test_metadata_with_a_filter_that_is_not_known_says_nothing() -> None:
    assert rules_of(b"/Metadata 7 0 R", {7: stream(xmp("1", "B"), b"/Filter/LZWDecode")}) == 0


# --- the whole way ------------------------------------------------------------------------------------------------------


def test_an_appearance_follows_the_rules_of_each_document_in_a_batch() -> None:
    logo = read(picture_bytes("PNG", "RGBA", (40, 30), noise=True), "", "image")
    look = SignatureLook("Signed", 110, 44, picture=logo, font_size=8)
    for page, has in (
        (Page(), b"/SMask"),
        (Page(profile="1b"), b"/CIDSet"),
        (Page(profile="2b", colours=1), b"/CalRGB"),
    ):
        content = sign(pdf(page), description(seen(look)))
        marks = [one for one in (b"/SMask", b"/CIDSet", b"/CalRGB") if one in content]
        assert has in marks and (b"/SMask" in marks) == (page.profile != "1b")


def test_refusals_that_lie_in_the_place_have_the_code_of_the_contract() -> None:
    for place, cause in (((9, 1, 1), "(page 9 of 1)"), ((1, 200, 1), "(page 1 has 260 x 180 points)")):
        refusal = refused(pdf(Page()), description(seen(LOOK, *place)))
        assert refusal.sign_error is SignError.NOT_DRAWABLE
        assert refusal.cause.startswith("2.2.1: ") and refusal.cause.endswith(cause)
    other = refused(b"no PDF", description(seen(LOOK)))
    assert other.sign_error is SignError.NOT_SIGNABLE and "2.2.1" not in other.cause


def test_a_large_image_books_the_memory_in_which_it_is_decoded() -> None:
    booked: list[int] = []

    @contextmanager
    def memory(wanted_bytes: int) -> Iterator[int]:
        booked.append(wanted_bytes)
        yield wanted_bytes

    for size, expected in (((40, 30), []), ((400, 300), [16 * 400 * 300])):
        logo = read(picture_bytes("PNG", "RGB", size), "", "image")
        look = SignatureLook("", 110, 44, picture=logo, picture_scale=0.1)
        booked.clear()
        batch = [(n, description(seen(look)), pdf(Page())) for n in range(3)]
        results = Pades().prepare(batch, credential(), SIGNING_TIME, memory=memory)
        assert all(isinstance(one, Prepared) for one in results), results
        assert booked == expected
