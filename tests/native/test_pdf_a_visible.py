"""A PDF/A stays one when a visible signature is drawn on it.

PDFBox Preflight judges PDF/A-1b, before and after. For parts 2 and 3 no judge is at hand: what the standards demand of what is
new in the file is checked here by rules (ISO 19005-2 6.2 and 6.3; part 3 differs in attachments alone).
"""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from harness.validators import judging
from harness.validators.pdf_a import preflight
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.support.pictures import picture_bytes
from tests.support.seen_pages import Page, description, pdf, seen, sign, stream

from batchseal.signature import SignatureLook
from batchseal.visible.picture import read

TEXT = r"Signed by ${certificate.commonName}\nÓbidos, ção"


def look(kind: str = "PNG", mode: str = "RGBA", **more: Any) -> SignatureLook:
    picture = read(picture_bytes(kind, mode, (30, 20), noise=True), "", "image") if kind else None
    return SignatureLook(TEXT, 110, 44, font_size=9, picture=picture, **more)


LOOKS = {
    "transparent image": look(),
    "transparent image on a colour": look(background=0xDDEEFF),
    "palette": look(mode="P"),
    "gray image": look(mode="L"),
    "photo": look("JPEG", "RGB"),
    "gray photo": look("JPEG", "L"),
    "cmyk photo": look("JPEG", "CMYK"),
    "text": look(""),
    "serif": look("", font_name="times", font_colour=0x303030, background=0xFFFFFF),
    "mono": look("", font_name="courier"),
}
PAGES = {
    "rgb": Page(profile="1b"),
    "gray": Page(profile="1b", colours=1),
    "turned": Page(profile="1b", rotation=90, crops=True),
}


def test_preflight_says_nothing_new_of_a_pdf_a_1b(tmp_path: Path) -> None:
    paths: dict[tuple[str, str], Path] = {}
    for page_name, page in PAGES.items():
        original = pdf(page)
        for name, one in {"": None, **LOOKS}.items():
            path = paths[page_name, name] = tmp_path / f"{len(paths)}.pdf"
            path.write_bytes(original if one is None else sign(original, description(seen(one))))
    with judging():
        found = preflight(paths.values())
    for (page_name, name), path in paths.items():
        assert found[path] == found[paths[page_name, ""]], (page_name, name, found[path])
        assert found[path] == set(), (page_name, name)


def test_preflight_sees_what_an_appearance_for_others_would_break(tmp_path: Path) -> None:
    """The judge complains of the appearance that a plain document gets: it is the rules that keep it quiet."""
    plain = sign(pdf(Page()), description(seen(LOOKS["transparent image"])))
    path = tmp_path / "plain.pdf"
    path.write_bytes(plain)
    with judging():
        complaints = preflight([path])[path]
    assert any(one.startswith("3.1.11") for one in complaints), complaints  # no /CIDSet
    assert any(one.startswith(("2.2.2", "2.1.2", "2.2.1")) or "SMask" in one for one in complaints), complaints


# --- parts 2 and 3, by rules --------------------------------------------------------------------------------------------


def objects(content: bytes) -> dict[int, Any]:
    """The newest version of each object of the last revision, by number."""
    reader = PdfFileReader(io.BytesIO(content), strict=True)
    last = reader.xrefs.total_revisions - 1
    found = {}
    for reference in reader.xrefs.explicit_refs_in_revision(last):
        found[reference.idnum] = reader.get_object(generic.Reference(reference.idnum, reference.generation, reader))
    return found


def spaces(value: Any) -> set[str]:
    """The names of the colour spaces in a colour space."""
    if isinstance(value, generic.NameObject):
        return {str(value)}
    return {str(value[0])} | (
        spaces(value[1].get_object() if hasattr(value[1], "get_object") else value[1])
        if value[0] == "/Indexed"
        else set()
    )


def broken_rules(content: bytes, *, has_rgb: bool, has_intent: bool) -> list[str]:
    """What the new objects of a signed file have that PDF/A-2 forbids."""
    found = []
    for number, value in objects(content).items():
        if not isinstance(value, generic.DictionaryObject):
            continue
        kind, subtype = value.get("/Type"), value.get("/Subtype")
        if subtype == "/Widget":
            flags = int(value["/F"])
            if not flags & 4 or flags & (1 | 2 | 32):
                found.append(f"{number}: 6.3.2: the flags are {flags}")
            if set(value["/AP"]) != {"/N"}:
                found.append(f"{number}: 6.3.3: the appearance has {list(value['/AP'])}")
            if "/A" in value or "/AA" in value:
                found.append(f"{number}: 6.4.1: the widget has an action")
        if kind == "/XObject" and set(value) & {"/OPI", "/PS", "/Ref", "/Alternates"}:
            found.append(f"{number}: 6.2.8, 6.2.9: {list(value)}")
        if subtype == "/Image":
            if value.get("/Interpolate"):
                found.append(f"{number}: 6.2.8.1: it is interpolated")
            used = spaces(value["/ColorSpace"])
            if "/DeviceRGB" in used and not has_rgb:
                found.append(f"{number}: 6.2.4.3: DeviceRGB without an intent for it")
            if "/DeviceGray" in used and not has_intent:
                found.append(f"{number}: 6.2.4.3: DeviceGray without an intent")
            if "/SMask" in value and not has_intent:
                found.append(f"{number}: 6.2.10: transparency without a space to blend in")
        if (
            isinstance(value, generic.StreamObject)
            and subtype == "/Form"
            and re.search(rb"\brg\b|\bRG\b", value.data)
            and not has_rgb
        ):
            found.append(f"{number}: 6.2.4.3: DeviceRGB in a form without an intent for it")
        if subtype in ("/CIDFontType2",):
            if "/FontFile2" not in value["/FontDescriptor"]:
                found.append(f"{number}: 6.2.11.4.1: the font is not embedded")
            if value.get("/CIDToGIDMap") != "/Identity":
                found.append(f"{number}: 6.2.11.3.2: no CIDToGIDMap")
        if subtype == "/Type0" and "/ToUnicode" not in value:
            found.append(f"{number}: 6.2.11.7.2: no ToUnicode")
        if "/Filter" in value and "LZWDecode" in str(value["/Filter"]):
            found.append(f"{number}: 6.1.7.2: LZW")
    return found


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("profile", ["2b", "3b"])
@pytest.mark.parametrize("colours", [1, 3])
def test_what_is_new_keeps_the_rules_of_parts_2_and_3(name: str, profile: str, colours: int) -> None:
    content = sign(pdf(Page(profile=profile, colours=colours)), description(seen(LOOKS[name])))
    assert broken_rules(content, has_rgb=colours == 3, has_intent=True) == []


def test_the_rules_see_what_they_are_about() -> None:
    content = sign(pdf(Page()), description(seen(LOOKS["transparent image"])))
    found = broken_rules(content, has_rgb=False, has_intent=False)
    assert {one.split(": ")[1] for one in found} == {"6.2.4.3", "6.2.10"}
    assert any(
        "6.3.2" in one for one in broken_rules(content.replace(b"/F 132", b"/F 134"), has_rgb=True, has_intent=True)
    )


# --- what is not touched ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["1b", "3b"])
def test_metadata_info_and_attachments_stay_as_they_are(profile: str) -> None:
    """Factur-X: the attached invoice is found by /AF and by its name, and the metadata tell its level."""
    extra = {
        30: b"<</Type/Filespec/F(factur-x.xml)/UF(factur-x.xml)/AFRelationship/Data/EF<</F 31 0 R/UF 31 0 R>>>>",
        31: stream(b"<Invoice/>", b"/Type/EmbeddedFile/Subtype/text#2Fxml/Params<</ModDate(D:20260101000000Z)>>"),
    }
    catalog = b"/AF[30 0 R]/Names<</EmbeddedFiles<</Names[(factur-x.xml)30 0 R]>>>>" if profile == "3b" else b""
    original = pdf(Page(profile=profile), extra=extra if profile == "3b" else None, catalog=catalog)
    content = sign(original, description(seen(LOOKS["photo"])))
    before, after = (PdfFileReader(io.BytesIO(one), strict=True) for one in (original, content))
    assert before.root.raw_get("/Metadata") == after.root.raw_get("/Metadata")
    assert before.root["/Metadata"].data == after.root["/Metadata"].data
    assert before.root["/OutputIntents"][0].raw_get("/DestOutputProfile") == after.root["/OutputIntents"][0].raw_get(
        "/DestOutputProfile"
    )
    if profile == "3b":
        assert after.root["/AF"].raw_get(0).idnum == 30
        names = after.root["/Names"]["/EmbeddedFiles"]["/Names"]
        assert names[0] == "factur-x.xml" and names[1]["/EF"]["/F"].data == b"<Invoice/>"
    assert not {6, 7, 30, 31} & objects(content).keys()
