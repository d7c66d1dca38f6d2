"""Visible signatures in existing fields: drawn in the field's own rectangle, or not at all where it is to stay as it is."""

import io
from pathlib import Path

import pytest
from harness.validators import judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import local_signer
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.support.pictures import picture_bytes
from tests.support.seen_pages import Page, description, pdf, prepare, refused, sign, signed

from batchseal.document import Description, Prepared, Refusal
from batchseal.operation import SignError
from batchseal.signature import LocationType, SignatureLook, SignaturePlace, VisibleSignature
from batchseal.visible.picture import read

LOOK = SignatureLook("Signed by $certificate.commonName", 155, 50, font_size=6)
OLD = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Length 0>>\nstream\n\nendstream"


def original(page: Page, rectangle: bytes = b"[40 60 140 90]", more: bytes = b"", form: bytes = b"") -> bytes:
    field = b"<</Type/Annot/Subtype/Widget/FT/Sig/T(sig)/F 4/P 4 0 R/Rect %s%s>>" % (rectangle, more)
    objects = {8: field, 9: OLD}
    content = pdf(page, extra=objects, catalog=b"/AcroForm<</Fields[8 0 R]%s>>" % form)
    return content


def wanted(
    look: SignatureLook = LOOK, *, name: str = "sig", keeps_look: bool = False, reason: str | None = None
) -> Description:
    return description(
        VisibleSignature(SignaturePlace(LocationType.SIGN_FIELD, name=name, keeps_look=keeps_look), look), reason
    )


def appearance(content: bytes) -> tuple[list[float], bytes, list[float]]:
    """The box, the content and the matrix of what the field shows."""
    form = PdfFileReader(io.BytesIO(content)).root["/AcroForm"]["/Fields"][0]["/AP"]["/N"]
    return [float(side) for side in form["/BBox"]], form.data, [float(n) for n in form.get("/Matrix", [])]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("unit", [1.0, 2.0])
def test_a_signature_is_drawn_in_the_size_of_its_field(rotation: int, unit: float, tmp_path: Path) -> None:
    path = tmp_path / "signed.pdf"
    page = Page(rotation=rotation, unit=unit, inherits=True)
    path.write_bytes(sign(original(page), wanted()))
    box, data, matrix = appearance(path.read_bytes())
    sides = [100 * unit, 30 * unit]
    shown = sides[::-1] if rotation % 180 else sides
    assert box == [0, 0, *shown]
    assert len(data) > 20
    assert matrix[:4] == {0: [1, 0, 0, 1], 90: [0, 1, -1, 0], 180: [-1, 0, 0, -1], 270: [0, -1, 1, 0]}[rotation]
    (verdict,) = pyhanko_verify(path, local_signer().root_der)
    assert verdict.good
    with judging():
        assert all(v.good for v in pdfsig_verify([path], local_signer().root_pem)[path])


def test_a_field_keeps_its_appearance_unless_the_request_brings_one() -> None:
    content = original(Page(), more=b"/AP<</N 9 0 R>>")
    assert appearance(sign(content, wanted(keeps_look=True)))[0] == [0, 0, 9, 9]
    assert appearance(sign(content, wanted()))[0] == [0, 0, 100, 30]
    without = original(Page())
    assert appearance(sign(without, wanted(keeps_look=True)))[0] == [0, 0, 100, 30], "it has none to keep"


def test_a_field_without_an_area_stays_invisible() -> None:
    box, data, _ = appearance(sign(original(Page(), rectangle=b"[0 0 0 0]"), wanted()))
    assert box == [0, 0, 0, 0]
    assert data == b""


def test_documents_of_a_batch_may_have_fields_of_all_sizes_and_rules() -> None:
    picture = read(picture_bytes("PNG", "RGBA", (90, 25)), "", "image")
    look = SignatureLook("", 155, 50, picture=picture)
    sources = [
        original(Page(profile=profile), rectangle)
        for profile in ("", "1b", "2b")
        for rectangle in (b"[40 60 140 90]", b"[40 60 41 61]", b"[0 0 0 0]", b"[10 10 210.5 110]")
    ]
    results = prepare(sources, [wanted(look)] * len(sources))
    for number, (source, result) in enumerate(zip(sources, results, strict=True)):
        if number % 4 == 1:
            assert isinstance(result, Refusal), "the image is larger than the field"
            assert result.sign_error is SignError.NOT_DRAWABLE
            continue
        assert isinstance(result, Prepared), result
        reader = PdfFileReader(io.BytesIO(signed(source, result)))
        signature = reader.embedded_signatures[0]
        signature.compute_integrity_info()
        assert signature.compute_digest() == result.document_digest


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("other", b"", "2.2.1: the PDF has no signature field of the name that was given; its signature fields"),
        ("sig", b"/V<</Type/Sig>>", "2.2.1: the field of the name that was given is signed already"),
        ("sig", b"/Lock<<>>", "2.2.1: the field says what its signature locks"),
        ("sig", b"/SV<</Ff 1/Filter/Other>>", "2.2.1: the field demands Filter of its signature"),
        ("sig", b"/SV<</Ff 8/Reasons[(one)]>>", "2.2.1: the field demands Reasons of its signature"),
    ],
)
def test_a_field_that_cannot_be_signed_is_refused_with_the_code_of_the_contract(
    name: str, more: bytes, told: str
) -> None:
    refusal = refused(original(Page(), more=more), wanted(name=name, reason="another"))
    assert refusal.sign_error is SignError.NOT_DRAWABLE
    assert refusal.cause.startswith(told)


def test_a_demand_that_is_met_is_signed() -> None:
    content = original(Page(), more=b"/SV<</Ff 8/Reasons[(one)]>>")
    assert b"/Reason (one)" in sign(content, wanted(reason="one"))
