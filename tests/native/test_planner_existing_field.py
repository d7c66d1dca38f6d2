"""Signatures in fields that a document has: found by their full name, with their locks, and judged by pyHanko and poppler."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.validators import itext_verify, judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import CONTENTS_BYTES, local_signer
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader

from batchseal._native.planner import PlannedUpdate, PlanRefusal, plan

TIME = "D:20261121120000Z"
WIDGET = b"/Type/Annot/Subtype/Widget/F 4/P 4 0 R/Rect[72 600 200 650]"
LOOK = b"<</Type/XObject/Subtype/Form/BBox[0 0 128 50]/Length 0>>\nstream\n\nendstream"


def field(name: bytes, more: bytes = b"") -> bytes:
    """A signature field and its widget in one dictionary."""
    return b"<<" + WIDGET + b"/FT/Sig/T" + name + more + b">>"


def form(
    objects: dict[int, bytes], roots: bytes, more: bytes = b"", annots: bytes = b"[7 0 R 8 0 R]"
) -> dict[int, bytes]:
    """A document with a form; object 7 is a text field."""
    form_object = b"<</Fields[7 0 R %s]%s>>" % (roots, more)
    return document(
        form=b"20 0 R",
        annots=annots,
        extra={7: text_field(b"(name)"), **objects, 20: form_object},
    )


KIDS = {8: b"<<" + WIDGET + b"/Parent 9 0 R>>", 9: b"<</FT/Sig/T(sig)/Kids[8 0 R]>>"}
TREE = {
    8: b"<<" + WIDGET + b"/Parent 10 0 R/T(sig)>>",
    9: b"<</T(a.b)/FT/Sig/Kids[10 0 R]>>",
    10: b"<</T<FEFF00E9>/Parent 9 0 R/Kids[8 0 R]>>",
}
# The objects of a document, and the full name of the field that is signed.
CASES: dict[str, tuple[dict[int, bytes], str]] = {
    "merged": (form({8: field(b"(sig)")}, b"8 0 R"), "sig"),
    "with a kid": (form(KIDS, b"9 0 R"), "sig"),
    "below parents that give the type": (form(TREE, b"9 0 R"), "a.b.é.sig"),
    "named in PDFDocEncoding": (form({8: field(rb"(\225\201\)s)")}, b"8 0 R"), "Ł†)s"),
    "named in UTF-16": (form({8: field(b"<FEFF0073D83DDE00>")}, b"8 0 R"), "s\U0001f600"),
    "named in UTF-16 of the other order": (form({8: field(b"<FFFE730069006700>")}, b"8 0 R"), "sig"),
    "named in UTF-8": (form({8: field(b"<EFBBBFC3A9>")}, b"8 0 R"), "é"),
    "without an area": (
        form({8: field(b"(sig)").replace(b"[72 600 200 650]", b"[0 0 0 0]")}, b"8 0 R"),
        "sig",
    ),
    "with an appearance": (form({8: field(b"(sig)", b"/AP<</N 9 0 R>>/MK<</BG[1]>>"), 9: LOOK}, b"8 0 R"), "sig"),
    "in a form that wants new appearances": (form({8: field(b"(sig)")}, b"8 0 R", b"/NeedAppearances true"), "sig"),
}


def planned(original: bytes, name: str, **more: Any) -> PlannedUpdate:
    update = plan(original, contents_bytes=CONTENTS_BYTES, signing_time=TIME, field=name, **more)
    assert isinstance(update, PlannedUpdate), update
    assert update.field_name == name
    return update


def signed(original: bytes, name: str | None, **more: Any) -> bytes:
    update = plan(original, contents_bytes=CONTENTS_BYTES, signing_time=TIME, field=name, **more)
    assert isinstance(update, PlannedUpdate), update
    return local_signer().complete(original, update.head, update.reserved_bytes, update.tail)


def refused(original: bytes, name: str | None) -> PlanRefusal:
    refusal = plan(original, contents_bytes=CONTENTS_BYTES, signing_time=TIME, field=name)
    assert isinstance(refusal, PlanRefusal)
    return refusal


FORMS: dict[str, Callable[[dict[int, bytes]], bytes]] = {
    "table": with_table,
    "stream": lambda objects: with_stream(objects, compressed=[n for n in objects if n not in (5, 9)]),
    "hybrid": lambda objects: hybrid(objects, [7, 8]),
}


def test_pyhanko_and_pdfsig_accept_a_signature_in_a_field_that_was_there(tmp_path: Path) -> None:
    paths: dict[str, Path] = {}
    for form_name, make in FORMS.items():
        for name, (objects, wanted) in CASES.items():
            path = paths[f"{form_name}: {name}"] = tmp_path / f"{len(paths)}.pdf"
            path.write_bytes(signed(make(objects), wanted))
    for name, path in paths.items():
        (verdict,) = pyhanko_verify(path, local_signer().root_der, strict=not name.startswith("hybrid"))
        assert verdict.good, (name, verdict)
        assert verdict.field == CASES[name.split(": ", maxsplit=1)[1]][1], name
    with judging():
        poppler = pdfsig_verify(paths.values(), local_signer().root_pem)
        itext = itext_verify(paths.values())
    for name, path in paths.items():
        assert [v.valid for v in itext[path].verdicts] == [True], name
        # poppler 22 looks for the value in the widget alone; it says the same of a signature that pyHanko puts into such a field.
        assert name.endswith("with a kid") or [v.good for v in poppler[path]] == [True], (name, poppler[path])


@pytest.mark.parametrize("name", CASES)
def test_the_field_keeps_what_it_had(name: str) -> None:
    objects, wanted = CASES[name]
    original = with_table(objects)
    whole = signed(original, wanted)
    assert whole.startswith(original)
    update = planned(original, wanted)
    changed = update.head + update.tail
    assert changed.count(b"/Type/Annot/Subtype/Widget") == 1, "no field is added, and no widget is written twice"
    reader = PdfFileReader(io.BytesIO(whole), strict=True)
    kept = reader.get_object(generic.Reference(8, 0, reader))
    assert kept["/F"] == 4
    assert len(kept["/Rect"]) == 4
    assert "/AP" in kept, "PDF/A demands an appearance, if only an empty one"
    if name == "with an appearance":
        assert kept.raw_get("/AP").raw_get("/N").idnum == 9
        assert kept["/MK"]["/BG"] == [1]
    catalog_form = reader.root["/AcroForm"]
    assert catalog_form["/SigFlags"] == 3
    assert len(catalog_form["/Fields"]) == 2
    assert not catalog_form.get("/NeedAppearances", False)
    if name != "in a form that wants new appearances":
        assert b"NeedAppearances" not in changed


LOCKS: dict[str, bytes] = {
    "all": b"<</Type/SigFieldLock/Action/All>>",
    "one, by reference": b"21 0 R",
    "all but one, of any text": b"<</Action/Exclude/Fields[22 0 R<FEFF00E9>]>>",
    "one, and changes other than forms": b"<</Action/Include/Fields[(name)]/P 2>>",
    "all, and any change": b"<</Action/All/P 1>>",
}
LOCK_OBJECTS = {21: b"<</Action/Include/Fields[(name)]>>", 22: b"(name)"}


def locking(lock: bytes) -> bytes:
    return with_table(form({8: field(b"(sig)", b"/Lock " + lock), **LOCK_OBJECTS}, b"8 0 R"))


def filled(original: bytes, value: str) -> bytes:
    """The document with another value of its text field, as a form filler would save it."""
    writer = IncrementalPdfFileWriter(io.BytesIO(original))
    text = writer.root["/AcroForm"]["/Fields"][0].get_object()
    text["/V"] = generic.pdf_string(value)
    writer.update_container(text)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_becomes_a_part_of_the_signature(lock: str, tmp_path: Path) -> None:
    path = tmp_path / "signed.pdf"
    whole = signed(locking(LOCKS[lock]), "sig", digest_algorithm="sha384")
    path.write_bytes(whole)
    (verdict,) = pyhanko_verify(path, local_signer().root_der)
    assert verdict.good
    with judging():
        assert all(v.good for v in pdfsig_verify([path], local_signer().root_pem)[path])
    signature = PdfFileReader(io.BytesIO(whole)).embedded_signatures[0]
    references = signature.sig_object["/Reference"]
    methods = [reference["/TransformMethod"] for reference in references]
    level = re.search(rb"/P (\d)", LOCKS[lock])
    assert methods == (["/FieldMDP", "/DocMDP"] if level else ["/FieldMDP"])
    assert references[0]["/DigestMethod"] == "/SHA384"
    if level:
        assert [each["/TransformParams"]["/P"] for each in references] == [int(level[1])] * 2
    said = signature.fieldmdp
    assert said is not None
    names = {"all": [], "one, by reference": ["name"], "all but one, of any text": ["name", "é"]}
    assert list(said.fields or ()) == names.get(lock, ["name"] if "one" in lock else [])


@pytest.mark.parametrize(
    ("lock", "stays_valid"),
    [
        ("all", False),
        ("one, by reference", False),
        ("all but one, of any text", True),
        ("one, and changes other than forms", False),
    ],
)
def test_a_difference_policy_judges_what_the_lock_forbids(lock: str, stays_valid: bool, tmp_path: Path) -> None:
    path = tmp_path / "filled.pdf"
    path.write_bytes(filled(signed(locking(LOCKS[lock]), "sig"), "another value"))
    (verdict,) = pyhanko_verify(path, local_signer().root_der)
    assert verdict.valid is stays_valid, verdict


TWO = {8: field(b"(first)", b"/Lock<</Action/%s/Fields[%s]>>"), 9: field(b"(second)"), 10: b"<</T(p)/Kids[11 0 R]>>"}
TWO[11] = field(b"(third)", b"/Parent 10 0 R")


@pytest.mark.parametrize(
    ("lock", "open_names", "locked_names"),
    [
        (b"<</Action/Exclude/Fields[(second)(p)]>>", ["second", "p.third"], [None]),
        (b"<</Action/Include/Fields[(second)]>>", ["p.third", None], ["second"]),
        (b"<</Action/Include/Fields[<FEFF0070>]>>", ["second", None], ["p.third"]),
        (b"<</Action/Include/Fields[(secon)(p.thir)]>>", ["second", "p.third"], []),
        (b"<</Action/All>>", [], ["second", "p.third", None]),
    ],
)
def test_a_field_that_an_earlier_signature_leaves_open_is_signed_and_no_other_one(
    lock: bytes, open_names: list[str | None], locked_names: list[str | None], tmp_path: Path
) -> None:
    objects = TWO | {8: field(b"(first)", b"/Lock " + lock)}
    once = signed(with_table(form(objects, b"8 0 R 9 0 R 10 0 R", annots=b"[7 0 R 8 0 R 9 0 R 11 0 R]")), "first")
    for number, name in enumerate(open_names):
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(signed(once, name))
        verdicts = pyhanko_verify(path, local_signer().root_der)
        assert [v.valid for v in verdicts] == [True, True], (name, verdicts)
    for name in locked_names:
        assert refused(once, name).code == "fields_locked"


REFUSALS: dict[str, tuple[dict[int, bytes], bytes, str, str, str]] = {
    # objects, roots of the form, the name that is asked for, the code, and the end of the message
    "no such name": ({8: field(b"(sig)")}, b"8 0 R", "Sig", "field_missing", "that can be signed: 'sig'"),
    "a part of the name": (TREE, b"9 0 R", "a.b", "field_type", "that can be signed: 'a.b.é.sig'"),
    "a text field": ({8: field(b"(sig)")}, b"8 0 R", "name", "field_type", "that can be signed: 'sig'"),
    "none is there": ({}, b"", "sig", "field_missing", "it has no signature field that can be signed"),
    "signed": (
        {8: field(b"(sig)", b"/V<</Type/Sig>>")},
        b"8 0 R",
        "sig",
        "field_signed",
        "it has no signature field that can be signed",
    ),
    "signed by its parent": (
        {9: b"<</FT/Sig/T(p)/V 10 0 R/Kids[8 0 R]>>", 8: field(b"(sig)"), 10: b"<</Type/Sig>>"},
        b"9 0 R",
        "p.sig",
        "field_signed",
        "it has no signature field that can be signed",
    ),
    "signed in its kid": (
        {9: b"<</FT/Sig/T(sig)/Kids[8 0 R]>>", 8: b"<<" + WIDGET + b"/V 10 0 R>>", 10: b"<</Type/Sig>>"},
        b"9 0 R",
        "sig",
        "field_signed",
        "that can be signed: 'sig'",
    ),
    "twice": ({8: field(b"(sig)"), 9: field(b"<736967>")}, b"8 0 R 9 0 R", "sig", "field_twice", "'sig'"),
    "with two types": ({8: field(b"(sig)", b"/FT/Tx")}, b"8 0 R", "sig", "ambiguous", "which one counts"),
    "no object of its own": ({}, field(b"(sig)"), "sig", "broken_object", "is malformed"),
    "a lock of no kind": ({8: field(b"(sig)", b"/Lock<</Action/Some>>")}, b"8 0 R", "sig", "field_lock", "respect it"),
    "a lock without names": (
        {8: field(b"(sig)", b"/Lock<</Action/Include>>")},
        b"8 0 R",
        "sig",
        "field_lock",
        "respect it",
    ),
    "a lock of level 4": (
        {8: field(b"(sig)", b"/Lock<</Action/All/P 4>>")},
        b"8 0 R",
        "sig",
        "field_lock",
        "respect it",
    ),
    "a lock that stands twice": (
        {8: field(b"(sig)", b"/Lock<</Action/All>>/Lock<</Action/All/P 1>>")},
        b"8 0 R",
        "sig",
        "ambiguous",
        "which one counts",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_field_that_cannot_be_signed_is_refused_and_those_that_can_are_named(case: str) -> None:
    objects, roots, name, code, told = REFUSALS[case]
    refusal = refused(with_table(form(objects, roots)), name)
    assert refusal.code == code
    assert refusal.message.endswith(told), refusal.message


def test_a_field_that_is_listed_twice_is_one_field() -> None:
    planned(with_table(form({8: field(b"(sig)")}, b"8 0 R 8 0 R")), "sig")


def test_a_form_that_is_its_own_field_is_not_written_twice() -> None:
    objects = document(form=b"7 0 R", extra={7: field(b"(sig)", b"/Fields[7 0 R]")})
    assert refused(with_table(objects), "sig").code == "broken_object"


def test_only_the_first_fields_are_named_and_their_names_are_cut() -> None:
    objects = {100 + n: field(b"(%s%03d)" % (b"long" * 50 if n % 2 else b"s", n)) for n in range(200)}
    roots = b" ".join(b"%d 0 R" % number for number in objects)
    message = refused(with_table(form(objects, roots)), "none").message
    assert "'s000'" in message
    assert message.endswith("and 190 more")
    assert len(message) < 1_500


def test_an_appearance_that_stands_twice_is_written_once() -> None:
    objects = {8: field(b"(sig)", b"/AP<</N 9 0 R>>/AP<</N 10 0 R>>"), 9: LOOK, 10: LOOK}
    update = planned(with_table(form(objects, b"8 0 R")), "sig")
    assert update.tail.count(b"/AP") == 1
    assert b"/N 10 0 R" in update.tail


def test_the_appearance_of_a_kid_is_given_to_the_kid() -> None:
    update = planned(with_table(form(KIDS, b"9 0 R")), "sig")
    field_object = update.tail[update.tail.index(b"\n9 0 obj") :]
    kid_object = update.tail[update.tail.index(b"\n8 0 obj") :]
    assert b"/V " in field_object[: field_object.index(b"endobj")]
    assert b"/AP " in kid_object[: kid_object.index(b"endobj")]
    assert b"/V " not in kid_object[: kid_object.index(b"endobj")]


def test_a_document_that_is_repaired_is_signed_in_its_field(tmp_path: Path) -> None:
    path = tmp_path / "signed.pdf"
    broken = with_table(form({8: field(b"(sig)")}, b"8 0 R")).partition(b"xref")[0]
    path.write_bytes(signed(broken, "sig"))
    assert planned(broken, "sig").rebuilt
    with judging():
        assert all(v.good for v in pdfsig_verify([path], local_signer().root_pem)[path])
