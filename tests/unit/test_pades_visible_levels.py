"""Levels LT and LTA of visible signatures: streams that documents share are inserted before the section, and count in it."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.validators import pyhanko_verify
from harness.validators.samples import document, with_stream, with_table
from PIL import Image
from tests.support.pdf_levels import pdf_level, reader_of
from tests.support.pictures import picture_of
from tests.support.small_pki import SmallPki
from tests.support.xml_documents import joined
from tests.unit.test_long_term import complete

from batchseal.document import Description
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType
from batchseal.signature import Level, LocationType, SignatureLook, SignaturePlace, VisibleSignature
from batchseal.visible.picture import read

NOISE = Image.frombytes("RGBA", (60, 40), random.Random(1).randbytes(60 * 40 * 4))
LOOK = SignatureLook(
    "Signed by $certificate.commonName", 155, 50, picture=read(picture_of(NOISE, "PNG"), "IMAGE_PNG", "imageValue")
)
FIELD = {7: b"<</Type/Annot/Subtype/Widget/FT/Sig/T(sig)/F 4/P 3 0 R/Rect[20 20 170 70]>>"}
PLACES = {
    "coordinate": SignaturePlace(LocationType.COORDINATE, page=1, x=10, y=10),
    "field": SignaturePlace(LocationType.SIGN_FIELD, name="sig"),
}
SOURCES: dict[str, Callable[[], bytes]] = {
    "table": lambda: with_table(document(form=b"<</Fields[7 0 R]>>", annots=b"[7 0 R]", extra=FIELD)),
    "stream": lambda: with_stream(
        document(form=b"<</Fields[7 0 R]>>", annots=b"[7 0 R]", extra=FIELD), compressed=[1, 2, 3, 4, 7]
    ),
}


@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_visible_signature_reaches_its_level(source: str, place: str, level: Level, tmp_path: Path) -> None:
    pki, original = SmallPki(), SOURCES[source]()
    wanted = Description(
        "ref",
        "name",
        ContentType.PDF,
        None,
        None,
        level=level,
        visible=True,
        visible_signature=VisibleSignature(PLACES[place], LOOK),
    )
    prepared, evidence, _ = complete(Pades(), original, wanted, pki)
    assert sum(map(len, prepared.shared)) > 5000
    found = Pades().package(original, prepared, evidence, pki.signer.credential)
    whole = joined(found)
    assert len(whole) == found.total_bytes
    assert len(whole) == len(original) + Pades().added_bytes(prepared, evidence, pki.signer.credential)
    assert pdf_level(whole, pki.root.der) == level.name
    signature = reader_of(whole).embedded_regular_signatures[0]
    resources = signature.sig_field["/AP"]["/N"]["/Resources"]
    assert any(image.get_object()["/Width"] == NOISE.width for image in resources["/XObject"].values())
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole)
    assert all(one.valid for one in pyhanko_verify(path, pki.root.der))
