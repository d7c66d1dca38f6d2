"""What the planner writes into a signature, a field and a form, and what it leaves alone; read back with pyHanko's reader."""

import io
from typing import Any

import pytest
from harness.validators.local_signer import local_signer
from harness.validators.samples import document, text_field, with_stream, with_table
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader

from batchseal._native.planner import PlannedUpdate, plan

TIME = "D:20261121120000Z"


def planned(original: bytes | memoryview, **options: Any) -> PlannedUpdate:
    given: dict[str, Any] = {"contents_bytes": 3000, "signing_time": TIME} | options
    update = plan(original, **given)
    assert isinstance(update, PlannedUpdate), update
    return update


def signed(original: bytes, **options: Any) -> PdfFileReader:
    update = planned(original, **options)
    return PdfFileReader(
        io.BytesIO(local_signer().complete(original, update.head, update.reserved_bytes, update.tail)), strict=True
    )


def signature(reader: PdfFileReader) -> generic.DictionaryObject:
    return reader.embedded_signatures[-1].sig_object


def test_the_signature_dictionary_is_pades_baseline() -> None:
    reader = signed(with_table(document()), reason="API", location="Oeiras", signer_name="Ana")
    entries = dict(signature(reader))
    assert set(entries) == {
        *("/Type", "/Filter", "/SubFilter", "/ByteRange", "/Contents", "/M", "/Reason", "/Location", "/Name")
    }
    assert entries["/Type"] == "/Sig"
    assert entries["/Filter"] == "/Adobe.PPKLite"
    assert entries["/SubFilter"] == "/ETSI.CAdES.detached"
    assert entries["/M"] == TIME
    assert (entries["/Reason"], entries["/Location"], entries["/Name"]) == ("API", "Oeiras", "Ana")
    assert not {"/Cert", "/Changes"} & set(entries)


def test_absent_texts_leave_no_entry() -> None:
    assert not {"/Reason", "/Location", "/Name"} & set(signature(signed(with_table(document()))))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "(un)balanced) \\ (",
        "ação Ç ÿ þÿ",
        "þÿ first",
        "ÿþ first",
        "ï»¿ first",
        "€ 12,00",
        "日本 🖋",
        "a\r\nb\tc",
        "\x01\x7f\xad\xa0",
        "x" * 4000,
    ],
)
def test_texts_are_read_back_as_they_were(text: str) -> None:
    update = planned(with_table(document()), reason=text)
    assert update.tail.isascii()
    assert signature(signed(with_table(document()), reason=text))["/Reason"] == text


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert signature(signed(with_table(document()), location="a\ud800b"))["/Location"] == "a?b"


def test_the_widget_is_invisible_and_on_the_first_page() -> None:
    reader = signed(with_table(document()))
    page = reader.root["/Pages"]["/Kids"][0]["/Kids"][0]
    widget = page["/Annots"][0].get_object()
    assert len(page["/Annots"]) == 1
    assert widget["/F"] == 132
    appearance = widget["/AP"]["/N"]
    assert (appearance["/Subtype"], list(appearance["/BBox"]), appearance.data) == ("/Form", [0, 0, 0, 0], b"")
    assert list(widget["/Rect"]) == [0, 0, 0, 0]
    assert widget.raw_get("/P").reference.idnum == 4
    assert (widget["/FT"], widget["/Subtype"], widget["/T"]) == ("/Sig", "/Widget", "Signature1")
    assert reader.root["/AcroForm"]["/SigFlags"] == 3


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([b"(Signature1)"], "Signature2"),
        ([b"(Signature2)", b"(Signature1)", b"(Signature4)"], "Signature3"),
        ([b"<5369676E617475726531>"], "Signature2"),
        ([b"<FEFF005300690067006E0061007400750072006500310>"], "Signature2"),
        ([b"(\\123ignature\\061)"], "Signature2"),
        ([b"(Signature01)", b"(signature1)", b"(Signature1x)", b"(Signature)"], "Signature1"),
        ([b"(Signature99999999999)"], "Signature1"),
    ],
)
def test_the_name_does_not_collide(names: list[bytes], expected: str) -> None:
    fields = {7 + i: text_field(name) for i, name in enumerate(names)}
    refs = b" ".join(b"%d 0 R" % number for number in fields)
    original = with_table(document(form=b"<</Fields[%s]>>" % refs, annots=b"[%s]" % refs, extra=fields))
    assert planned(original).field_name == expected


def test_names_of_children_of_nameless_fields_count() -> None:
    extra = {7: b"<</Kids[8 0 R]>>", 8: text_field(b"(Signature1)", more=b"/Parent 7 0 R")}
    original = with_table(document(form=b"<</Fields[7 0 R]>>", annots=b"[8 0 R]", extra=extra))
    assert planned(original).field_name == "Signature2"


def test_a_thousand_names_are_no_problem() -> None:
    fields = {n: b"<</FT/Tx/T(Signature%d)>>" % (n - 6) for n in range(7, 1207)}
    refs = b" ".join(b"%d 0 R" % number for number in fields)
    assert planned(with_table(document(form=b"<</Fields[%s]>>" % refs, extra=fields))).field_name == "Signature1201"


def test_other_entries_are_kept_byte_for_byte() -> None:
    form = b"<</DR<</Font<</Helv 6 0 R>>>> /DA(/Helv 0 Tf\\) x) /Fields [7 0 R % none\n] /SigFlags 1"
    form += b"/Odd#20Name<</A[1 2.50 -.3<ab>]>>>>"
    original = with_table(document(form=form, annots=b"[7 0 R]", extra={7: text_field(b"(name)")}))
    update = planned(original)
    form_now = form.replace(b"/Fields [7 0 R % none\n]", b"/Fields  [7 0 R % none\n 9 0 R]").replace(
        b"/SigFlags 1", b"/SigFlags  3"
    )
    assert b"/AcroForm  " + form_now in update.tail or form_now in update.tail
    assert b"/Annots  [7 0 R 9 0 R]" in update.tail


def test_xfa_and_need_appearances_stay() -> None:
    form = b"<</Fields[]/NeedAppearances true/XFA[(template)5 0 R]>>"
    assert b"/NeedAppearances true/XFA[(template)5 0 R]" in planned(with_table(document(form=form))).tail


def test_objects_of_object_streams_are_rewritten_plain() -> None:
    original = with_stream(document(), compressed=[1, 2, 3, 4])
    tail = planned(original).tail
    assert b"\n4 0 obj\n<</Annots" in tail
    assert b"\n1 0 obj\n<</AcroForm" in tail


def test_the_trailer_keeps_its_entries_and_changes_the_id() -> None:
    original = with_table(document(), trailer=b"/Info 6 0 R/ID[<00112233><44556677>]/Custom(x)")
    tail = planned(original).tail
    assert b"/Info 6 0 R" in tail
    assert b"/Custom (x)" in tail
    assert b"/ID [<00112233><" in tail
    assert b"<44556677>" not in tail
    assert tail == planned(original).tail
    assert tail != planned(original, signing_time="D:20261121120001Z").tail


def test_generations_are_kept() -> None:
    objects = document()
    original = with_table(objects).replace(b"4 0 obj", b"4 3 obj").replace(b"[4 0 R]", b"[4 3 R]")
    row = original.index(b"0000000000 65535 f \n") + 4 * 20
    original = original[:row] + original[row : row + 11] + b"00003" + original[row + 16 :]
    update = planned(original)
    assert not update.rebuilt
    assert b"4 3 obj\n" in update.tail
    assert b" 00003 n \n" in update.tail
    assert b"/P 4 3 R" in update.tail


def test_any_contiguous_buffer_is_read_in_place() -> None:
    original = with_table(document())
    assert planned(memoryview(bytearray(original))) == planned(original)
    with pytest.raises(BufferError):
        planned(memoryview(original)[::2])


TAGGED = b"/MarkInfo<</Marked true>>"


@pytest.mark.parametrize(
    ("catalog", "page", "tabs"),
    [
        (TAGGED, b"", "/S"),
        (b"/MarkInfo 7 0 R", b"", "/S"),
        (TAGGED, b"/Tabs null", "/S"),
        (TAGGED, b"/Tabs/R", "/R"),
        (b"/MarkInfo<</Marked false>>", b"", None),
        (b"", b"", None),
    ],
)
@pytest.mark.parametrize("annots", [b"[]", b"8 0 R"])
def test_a_tagged_page_says_that_its_annotations_follow_the_structure(
    catalog: bytes, page: bytes, tabs: str | None, annots: bytes
) -> None:
    extra = {7: b"<</Marked true>>", 8: b"[]"}
    reader = signed(with_table(document(catalog=catalog, annots=annots + page, extra=extra)))
    found = reader.root["/Pages"]["/Kids"][0]["/Kids"][0]
    assert found.get("/Tabs") == tabs
    assert len(found["/Annots"]) == 1


def test_a_signed_page_keeps_its_tabs_as_they_are() -> None:
    untagged = with_table(document(catalog=b"/MarkInfo 7 0 R", extra={7: b"<</Marked false>>"}))
    update = planned(untagged)
    once = local_signer().complete(untagged, update.head, update.reserved_bytes, update.tail)
    assert b"/Tabs" not in planned(once.replace(b"/Marked false", b"/Marked true ")).tail


@pytest.mark.parametrize(
    ("form", "annots"),
    [
        (b"<</Fields[]/Fields[7 0 R]>>", b"[]/Annots[7 0 R]"),
        (b"<</Fields[]>>/AcroForm<</Fields[7 0 R]/SigFlags 3>>", b"8 0 R/Annots 9 0 R"),
        (b"10 0 R/AcroForm 11 0 R", b"[1 0 R]/#41nnots[7 0 R]"),
        (b"<</Fields 8 0 R/Fields 9 0 R/SigFlags 0/SigFlags 3>>", b"8 0 R/Annots 9 0 R"),
    ],
)
def test_a_key_that_stood_twice_stands_once_with_its_last_value(form: bytes, annots: bytes) -> None:
    extra = {
        7: text_field(b"(name)"),
        8: b"[]",
        9: b"[7 0 R]",
        10: b"<</Fields[]>>",
        11: b"<</Fields[7 0 R]/SigFlags 3>>",
    }
    # The strict reader refuses keys that stand twice, so it reads only what the update wrote anew.
    reader = signed(with_table(document(form=form, annots=annots, extra=extra)))
    page = reader.root["/Pages"]["/Kids"][0]["/Kids"][0]
    fields = reader.root["/AcroForm"]["/Fields"]
    assert [field.get_object()["/T"] for field in fields] == ["name", "Signature1"]
    assert [widget.get_object()["/T"] for widget in page["/Annots"]] == ["name", "Signature1"]
    assert reader.root["/AcroForm"]["/SigFlags"] == 3


def test_keys_that_stand_twice_elsewhere_are_copied() -> None:
    tail = planned(with_table(document(catalog=b"/Lang(pt)/Lang(en)"))).tail
    assert b"/Lang(pt)/Lang(en)" in tail


@pytest.mark.parametrize("number", [b"1e-05", b"NaN", b"-nan", b"Infinity", b"-inf", b"0,5", b"1.0E+10", b"-1.#IND00"])
def test_numbers_that_readers_tolerate_are_copied(number: bytes) -> None:
    assert b"/X[%s 1]" % number in planned(with_table(document(catalog=b"/X[%s 1]" % number))).tail
    assert b"/X %s" % number in planned(with_table(document(form=b"<</Fields[]/X %s>>" % number))).tail
    assert b"/X %s" % number in planned(with_table(document(), trailer=b"/X %s" % number)).tail


def test_what_is_neither_a_key_nor_a_value_is_left_out_of_a_copy() -> None:
    original = with_table(document(catalog=b"/Own 2 0 R 0 R/Last<</A(x)5 true/B[1 2]>>", form=b"<</Fields[]null/Q 1>>"))
    reader = signed(original)
    last = reader.root["/Last"]
    assert reader.root.raw_get("/Own").reference.idnum == 2
    assert (last["/A"], list(last["/B"]), set(last)) == ("x", [1, 2], {"/A", "/B"})
    assert reader.root["/AcroForm"]["/Q"] == 1
    assert set(reader.root) == {"/Type", "/Pages", "/Own", "/Last", "/AcroForm"}
