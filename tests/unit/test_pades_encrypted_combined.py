"""Encrypted documents with what else a signature may bring: a picture, LT and LTA, an existing field, a place at a word."""

import ctypes
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pem
from harness.validators import judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import local_signer
from harness.validators.samples import document, text_field, with_stream, with_table
from pyhanko.sign.validation import validate_pdf_signature, validate_pdf_timestamp
from tests.support.encrypted_pdf import FILE_ID, dictionary, encrypted, sealing
from tests.support.encrypted_pdf import KINDS as KINDS_OF_ENCRYPTION
from tests.support.pdf_levels import context_of, pdf_level, reader_of, validation_streams
from tests.support.pictures import picture_bytes
from tests.support.rendering import by_pdfium, by_poppler, changed, text_of
from tests.support.seen_pages import description, refused, seen, sign, stream, xmp
from tests.support.small_pki import SmallPki
from tests.unit.test_pades_levels import OLD, OLD_CERTIFICATE
from tests.unit.test_pades_levels import signed as signed_at

from batchseal._native.planner import RULE_CID_SET, Appearance, OtherRules, PlannedUpdate
from batchseal.document import Description
from batchseal.formats.pades.encryption import Planning
from batchseal.formats.pades.placeholder.finder import place_of
from batchseal.formats.pades.placeholder.search import search
from batchseal.operation import SignError
from batchseal.signature import Level, LocationType, SignatureLook, SignaturePlace, VisibleSignature
from batchseal.visible.picture import read

USUAL = ("RC4-128", "AES-128", "AES-256, revision 6")
# Where a document says that only strings, or only streams, are encrypted.
PARTLY = ("AES-128, strings in clear", "AES-128, streams in clear")
KINDS = pytest.mark.parametrize("kind", USUAL)
FORMS = pytest.mark.parametrize("form", ["table", "stream"])
LOOK = SignatureLook(
    "Selado por $certificate.commonName ($reason)",
    200,
    60,
    font_size=8,
    background=0xFFF0C0,
    picture=read(picture_bytes("PNG", "RGBA", (60, 40), noise=True), "", "image"),
)
REASON = "Aprovação: Ω"
# A field without a name of its own among others, whose names, lock and demands stand in all the places that they may.
FIELDS = document(
    form=b"8 0 R",
    annots=b"[7 0 R 11 0 R]",
    extra={
        7: text_field(b"(Signature1)"),
        8: b"<</Fields[7 0 R 10 0 R]/NeedAppearances true/DA(/Helv 0 Tf 0 g)>>",
        10: b"<</T<FEFF0070>/Kids[11 0 R]>>",
        11: b"<</Type/Annot/Subtype/Widget/FT/Sig/T 12 0 R/TU(Seal here)/F 4/P 4 0 R/Rect[100 500 300 560]"
        b"/Lock 13 0 R/SV<</Ff 8/Reasons[(other) 15 0 R]>>>>",
        12: b"(sig)",
        13: b"<</Action/Include/Fields[(Signature1) 14 0 R]/P 2>>",
        14: b"<FEFF00e9>",
        15: b"<FEFF%s>" % REASON.encode("utf-16-be").hex().encode(),
    },
)
IN_STREAM = (1, 4, 7, 8, 10, 11, 12, 13, 14, 15)


def made(kind: str | None, form: str, objects: Mapping[int, bytes]) -> bytes:
    """The document in clear where `kind` is None; in the form "stream" all that may be is in an object stream."""
    packed = tuple(number for number in IN_STREAM if number in objects) if form == "stream" else ()
    if kind is not None:
        return encrypted(kind, objects, form, compressed=packed)
    return with_stream(objects, compressed=packed) if form == "stream" else with_table(objects)


def in_field(name: str = "p.sig", reason: str = REASON) -> Description:
    return description(VisibleSignature(SignaturePlace(LocationType.SIGN_FIELD, name=name), LOOK), reason)


def judged(path: Path, whole: bytes, fields: list[str]) -> None:
    """All signatures are good for pyHanko, and those that are no time stamps for pdfsig."""
    path.write_bytes(whole)
    verdicts = pyhanko_verify(path, local_signer().root_der)
    assert [(one.field, one.good) for one in verdicts] == [(field, True) for field in fields], verdicts
    with judging():
        assert [one.good for one in pdfsig_verify([path], local_signer().root_pem)[path]] == [True] * len(fields)


def texts(array: Any) -> list[str]:
    return [str(array[at]) for at in range(len(array))]


def drawn(resources: Any) -> dict[str, bytes]:
    """The data of the pictures and of the files of fonts."""
    found = {}
    for name, each in resources["/XObject"].items():
        found[name] = each.get_object().encoded_data
        if "/SMask" in each.get_object():
            found[name + "/SMask"] = each.get_object()["/SMask"].encoded_data
    for name in resources["/Font"]:
        font = resources["/Font"][name]  # a value that `get` gives is not decrypted
        below = font["/DescendantFonts"][0] if "/DescendantFonts" in font else font
        found[name] = below["/FontDescriptor"]["/FontFile2"].data
        found[name + "/ToUnicode"] = font["/ToUnicode"].data
        if "/CIDSystemInfo" in below:
            found[name + "/Registry"] = str(below["/CIDSystemInfo"]["/Registry"]).encode()
    return found


@KINDS
@FORMS
def test_what_a_visible_signature_shows_is_encrypted_and_looks_the_same(kind: str, form: str, tmp_path: Path) -> None:
    wanted = description(seen(LOOK, x=100, y=500), "Reason")
    original = made(kind, form, document())
    whole, clear = sign(original, wanted), sign(made(None, form, document()), wanted)
    judged(tmp_path / "signed.pdf", whole, ["Signature1"])
    shown = [reader_of(each).root["/AcroForm"]["/Fields"][0]["/AP"]["/N"] for each in (whole, clear)]
    assert shown[0].data == shown[1].data
    found = [drawn(each["/Resources"]) for each in shown]
    assert found[0] == found[1]
    assert len(found[0]) >= 4
    # None of the streams stands in the file as it does in the clear one, nor does a text.
    streams = re.findall(rb"stream\n(.{20,}?)\nendstream", clear[-(len(clear) - len(original)) :], re.DOTALL)
    added = whole[len(original) :]
    assert len(streams) >= 4
    assert not [each for each in streams if each in added]
    assert b"(Adobe)" not in added
    with judging():
        for render in (by_pdfium, lambda content: by_poppler(content, tmp_path)):
            assert changed(render(whole), render(clear)) is None
            assert changed(render(original), render(whole)) is not None
        assert "Selado por" in text_of(whole, tmp_path)


@pytest.mark.parametrize("kind", PARTLY)
def test_only_what_the_document_says_is_encrypted(kind: str, tmp_path: Path) -> None:
    original = made(kind, "stream", document())
    whole = sign(original, description(seen(LOOK, x=100, y=500), "Reason"))
    (tmp_path / "signed.pdf").write_bytes(whole)
    (verdict,) = pyhanko_verify(tmp_path / "signed.pdf", local_signer().root_der)
    assert verdict.good
    assert len(drawn(reader_of(whole).root["/AcroForm"]["/Fields"][0]["/AP"]["/N"]["/Resources"])) >= 4
    assert (b"(Adobe)" in whole[len(original) :]) == (kind == "AES-128, strings in clear")


def test_documents_of_a_batch_share_only_what_is_not_encrypted() -> None:
    wanted = description(seen(LOOK, x=100, y=500), "Reason")
    sources = [made(kind, "table", document()) for kind in (None, *USUAL, None, *PARTLY)]
    signed = [sign(source, wanted) for source in sources]
    shown = [reader_of(each).root["/AcroForm"]["/Fields"][0]["/AP"]["/N"] for each in signed]
    assert len({tuple(drawn(each["/Resources"]).items()) for each in shown}) == 1


@KINDS
@FORMS
@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
def test_levels_are_reached(kind: str, form: str, level: Level, tmp_path: Path) -> None:
    pki = SmallPki(kind="rsa")
    catalog = b"/Lang(pt-PT)/ViewerPreferences<</DisplayDocTitle true>>"
    form_object = {7: text_field(b"(Signature1)"), 8: b"<</Fields[7 0 R]>>"}
    original = made(kind, form, document(form=b"8 0 R", catalog=catalog, extra=form_object))
    whole = signed_at(original, level, pki)
    assert pdf_level(whole, pki.root.der) == level.name
    reader = reader_of(whole)
    assert [one.field_name for one in reader.embedded_signatures] == ["Signature2", "Signature3"][: level - 2]
    assert pki.authority.der in validation_streams(reader.root)
    # The material is encrypted, the token is not, and the names of the fields are.
    added = whole[len(original) :]
    assert pki.authority.der[:64] not in added
    assert b"(Signature" not in added
    assert len(re.findall(rb"/Contents <30[0-9a-f]{100}", added)) == level - 2
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole)
    assert all(one.valid for one in pyhanko_verify(path, pki.root.der))
    with judging():
        first, *_ = pdfsig_verify([path], pem.armor("CERTIFICATE", pki.root.der))[path]
        assert first.valid
        assert first.trusted


@pytest.mark.parametrize("kind", [None, *USUAL])
@pytest.mark.parametrize("place", ["in the catalog", "an object", "an object, plain"])
@pytest.mark.parametrize("form", ["table", "stream"])
def test_strings_of_an_existing_dss_dictionary_keep_their_meaning(kind: str | None, place: str, form: str) -> None:
    """One that stands in the catalog becomes an object of its own, and so gets another key."""
    text = b"<</Certs[20 0 R]/VRI<</%s<</Cert[20 0 R]/TU(D:20200101000000Z)/Own[<00ff> 22 0 R]>>>>>>" % (
        b"0123456789" * 4
    )
    objects = document(
        catalog=b"/DSS" + (text if place == "in the catalog" else b" 15 0 R"),
        extra={20: OLD[20], 22: b"(x)", 15 if place == "an object" else 30: text},
    )
    if place == "an object, plain":
        objects[1] = objects[1].replace(b"15 0 R", b"30 0 R")
    pki = SmallPki()
    whole = signed_at(made(kind, form, objects), Level.LTA, pki)
    reader = reader_of(whole)
    # pyHanko takes any /VRI of an encrypted document for a changed one, also where nothing is written anew.
    signature = reader.embedded_regular_signatures[0]
    assert validate_pdf_signature(signature, context_of([pki.root.der]), skip_diff=True).bottom_line
    stamp = reader.embedded_timestamp_signatures[0]
    status = validate_pdf_timestamp(stamp, context_of([pki.root.der]), skip_diff=True)
    assert status.valid
    assert status.trusted
    dss = reader.root["/DSS"]
    assert [each.get_object().data for each in dss["/Certs"]] == [OLD_CERTIFICATE, pki.authority.der]
    old = dss["/VRI"]["/" + "0123456789" * 4]
    assert str(old["/TU"]) == "D:20200101000000Z"
    assert [bytes(old["/Own"][at].original_bytes) for at in range(2)] == [b"\x00\xff", b"x"]


@KINDS
def test_signatures_of_all_levels_follow_each_other(kind: str, tmp_path: Path) -> None:
    whole, pkis = made(kind, "stream", document()), [SmallPki() for _ in range(3)]
    for pki, level in zip(pkis, (Level.LT, Level.LTA, Level.LTA), strict=True):
        whole = signed_at(whole, level, pki)
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole)
    verdicts = pyhanko_verify(path, *(pki.root.der for pki in pkis))
    assert len(verdicts) == 5
    assert all(one.valid and one.trusted for one in verdicts), verdicts
    assert {pki.authority.der for pki in pkis} <= validation_streams(reader_of(whole).root)


@KINDS
@FORMS
def test_an_existing_field_is_signed_with_what_it_locks_and_demands(kind: str, form: str, tmp_path: Path) -> None:
    original = made(kind, form, FIELDS)
    whole = sign(original, in_field())
    judged(tmp_path / "signed.pdf", whole, ["p.sig"])
    root = reader_of(whole).root
    form_dictionary = root["/AcroForm"]
    assert form_dictionary["/NeedAppearances"] is not True
    assert not form_dictionary["/NeedAppearances"]
    assert str(form_dictionary["/DA"]) == "/Helv 0 Tf 0 g"
    parent = form_dictionary["/Fields"][1]
    field = parent["/Kids"][0]
    assert [str(each) for each in (parent["/T"], field["/T"], field["/TU"])] == ["p", "sig", "Seal here"]
    assert texts(field["/SV"]["/Reasons"]) == ["other", REASON]
    references = field["/V"]["/Reference"]
    lock, certification = references[0], references[1]
    assert texts(lock["/TransformParams"]["/Fields"]) == ["Signature1", "é"]
    assert certification["/TransformParams"]["/P"] == 2
    assert str(field["/V"]["/Reason"]) == REASON
    assert len(drawn(field["/AP"]["/N"]["/Resources"])) >= 4
    added = whole[len(original) :]
    assert b"(Signature1)" not in added
    assert b"Seal" not in added


@pytest.mark.parametrize("kind", [None, *USUAL])
@FORMS
def test_a_field_whose_widget_is_an_object_of_its_own(kind: str, form: str, tmp_path: Path) -> None:
    objects = FIELDS | {
        10: b"<</T(p.sig)/FT/Sig/TU(field)/Kids[11 0 R]>>",
        11: b"<</Type/Annot/Subtype/Widget/Parent 10 0 R/Contents(note)/F 4/P 4 0 R/Rect[100 500 300 560]>>",
    }
    whole = sign(made(kind, form, objects), in_field())
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole)
    # pdfsig takes a field for unsigned whose widget stands apart.
    (verdict,) = pyhanko_verify(path, local_signer().root_der)
    assert verdict.good
    field = reader_of(whole).root["/AcroForm"]["/Fields"][1]
    widget = field["/Kids"][0]
    assert [str(each) for each in (field["/T"], field["/TU"], widget["/Contents"])] == ["p.sig", "field", "note"]


@KINDS
@FORMS
def test_names_and_demands_are_read_in_clear_before_a_field_is_refused(kind: str, form: str) -> None:
    refusal = refused(made(kind, form, FIELDS), in_field("other"))
    assert refusal.sign_error is SignError.NOT_DRAWABLE
    assert "'p.sig'" in refusal.cause
    refusal = refused(made(kind, form, FIELDS), in_field(reason="another"))
    assert "Reasons" in refusal.cause
    locking = b"<</Type/Sig/Reference[<</TransformMethod/FieldMDP/TransformParams 14 0 R>>]>>"
    locked = FIELDS | {
        7: b"<</FT/Sig/T(x)/V 9 0 R>>",
        9: locking,
        14: b"<</Action/Include/Fields[(y) 15 0 R]>>",
        15: b"<FEFF0070002E007300690067>",
    }
    refusal = refused(made(kind, form, locked), in_field())
    assert "locks the document" in refusal.cause
    open_to_it = locked | {15: b"(p.si)"}
    assert sign(made(kind, form, open_to_it | {13: b"<</Action/All>>"}), in_field(reason="other"))


@KINDS
@FORMS
def test_a_visible_signature_stands_at_a_word(kind: str, form: str, tmp_path: Path) -> None:
    original = made(kind, form, document())
    buffer = (ctypes.c_char * len(original)).from_buffer_copy(original)
    sought = SignaturePlace(LocationType.PLACEHOLDER, name="2021/5")
    place = place_of(sought, search(buffer, len(original), "2021/5"))
    assert place.in_user_space
    assert place.page == 1
    wanted = description(VisibleSignature(place, LOOK), "Reason")
    whole, clear = sign(original, wanted), sign(made(None, form, document()), wanted)
    judged(tmp_path / "signed.pdf", whole, ["Signature1"])
    assert changed(by_pdfium(whole), by_pdfium(clear)) is None


@pytest.mark.parametrize("kind", [None, *USUAL])
def test_a_field_at_level_lta_with_a_picture(kind: str) -> None:
    """All at once."""
    pki, wanted = SmallPki(), in_field()
    # pyHanko does not compare fields whose names are references, nor direct values of fields in encrypted documents.
    objects = FIELDS | {11: b"<</Type/Annot/Subtype/Widget/FT/Sig/T(sig)/F 4/P 4 0 R/Rect[100 500 300 560]>>"}
    whole = signed_at(made(kind, "stream", objects), Level.LTA, pki, wanted)
    assert pdf_level(whole, pki.root.der) == "LTA"
    field = reader_of(whole).root["/AcroForm"]["/Fields"][1]["/Kids"][0]
    assert len(drawn(field["/AP"]["/N"]["/Resources"])) >= 4


@pytest.mark.parametrize("kind", [*USUAL, "AES-128, metadata in clear", "AES-256, metadata in clear"])
def test_what_metadata_say_of_pdf_a_is_read_in_clear(kind: str) -> None:
    """Nobody may encrypt PDF/A, but whoever did so is given an appearance by its rules all the same."""
    description_of_part = zlib.compress(xmp("1", "B"))
    key, text = dictionary(KINDS_OF_ENCRYPTION[kind])
    objects = document(catalog=b"/Metadata 7 0 R") | {
        7: stream(description_of_part, b"/Type/Metadata/Subtype/XML/Filter/FlateDecode"),
        8: text,
    }
    clear = frozenset({8} if KINDS_OF_ENCRYPTION[kind].encrypts_metadata else {7, 8})
    original = with_table(
        objects,
        trailer=b"/Encrypt 8 0 R/ID[<%s><00>]" % FILE_ID.hex().encode(),
        seal=sealing(KINDS_OF_ENCRYPTION[kind], key, clear=clear),
    )
    appearance = Appearance([(b"/Subtype/Form", b"", False)], rules=0, width=10, height=10)
    answer = Planning(original)(contents_bytes=10, signing_time="D:2026", appearance=appearance)
    assert isinstance(answer, OtherRules)
    assert answer.rules & RULE_CID_SET


@pytest.mark.parametrize("kind", [None, *USUAL])
def test_only_what_the_section_changes_is_written_before_it(kind: str | None) -> None:
    """The catalog for the DSS dictionary; the page for the field of the time stamp. Both stood in an object stream."""
    for has_stamp in (False, True):
        planning = Planning(made(kind, "stream", FIELDS))
        update = planning(contents_bytes=10, signing_time="x", field="p.sig", section=True, time_stamp=has_stamp)
        assert isinstance(update, PlannedUpdate)
        assert (b"\n1 0 obj" in update.tail) == (kind is not None)
        assert (b"\n4 0 obj" in update.tail) == (kind is not None and has_stamp)
