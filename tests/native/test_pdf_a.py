"""A PDF/A-1b stays one when it is signed: PDFBox Preflight says nothing of the result that it did not say of the original."""

from pathlib import Path

from harness.validators import judging
from harness.validators.local_signer import CONTENTS_BYTES, local_signer
from harness.validators.pdf_a import preflight
from harness.validators.samples import Objects, with_table

from batchseal._native.planner import PlannedUpdate, plan

XMP = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<pdfaid:part>1</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance></rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
ID = b"/ID[<000102030405060708090a0b0c0d0e0f><000102030405060708090a0b0c0d0e0f>]"
EMPTY_FORM = b"<</Type/XObject/Subtype/Form/BBox[0 0 0 0]/Length 0>>\nstream\n\nendstream"
FIELD = b"<</Type/Annot/Subtype/Widget/FT/Sig/T(Own)/F 132/Rect[0 0 0 0]/P 4 0 R/AP<</N 8 0 R>>>>"


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (more, len(data), data)


def pdf_a(*, form: bytes = b"", annots: bytes = b"", extra: Objects | None = None, contents: bytes = b"q Q") -> bytes:
    """A page tree of two levels (2, 3), a page (4) with nothing on it, so that it needs neither a font nor a colour space."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/Metadata 6 0 R" + (b"/AcroForm " + form if form else b"") + b">>",
        2: b"<</Type/Pages/Count 1/Kids[3 0 R]/MediaBox[0 0 595 842]>>",
        3: b"<</Type/Pages/Count 1/Kids[4 0 R]/Parent 2 0 R>>",
        4: b"<</Type/Page/Parent 3 0 R/Contents 5 0 R/Resources<<>>"
        + (b"/Annots " + annots if annots else b"")
        + b">>",
        5: stream(contents),
        6: stream(XMP, b"/Type/Metadata/Subtype/XML"),
        **(extra or {}),
    }
    return with_table(objects, trailer=ID)


def sign(original: bytes) -> bytes:
    """With a reason and a place."""
    update = plan(
        original, contents_bytes=CONTENTS_BYTES, signing_time="D:20261121120000Z", reason="Aprovado", location="Óbidos"
    )
    assert isinstance(update, PlannedUpdate), update
    return local_signer().complete(original, update.head, update.reserved_bytes, update.tail)


ORIGINALS = {
    "plain": pdf_a(),
    "with a field": pdf_a(form=b"<</Fields[7 0 R]>>", annots=b"[7 0 R]", extra={7: FIELD, 8: EMPTY_FORM}),
    "form and annotations apart": pdf_a(
        form=b"9 0 R",
        annots=b"10 0 R",
        extra={7: FIELD, 8: EMPTY_FORM, 9: b"<</Fields 11 0 R>>", 10: b"[7 0 R]", 11: b"[7 0 R]"},
    ),
    "signed already": sign(pdf_a()),
}
# What is no PDF/A-1b before: a colour without an output intent, and an annotation that is hidden.
OTHERS = {
    "colour": pdf_a(contents=b"1 0 0 rg 9 9 20 20 re f"),
    "annotation": pdf_a(annots=b"[7 0 R]", extra={7: b"<</Type/Annot/Subtype/Square/Rect[9 9 20 20]/F 2>>"}),
}


def complaints(folder: Path, contents: dict[str, bytes]) -> dict[str, set[str]]:
    paths = {}
    for number, (name, content) in enumerate(contents.items()):
        paths[name] = folder / f"{number}.pdf"
        paths[name].write_bytes(content)
    with judging():
        found = preflight(paths.values())
    assert found.keys() == set(paths.values())
    return {name: found[path] for name, path in paths.items()}


def test_what_is_pdf_a_stays_so_and_what_is_none_gets_no_worse(tmp_path: Path) -> None:
    sources = ORIGINALS | OTHERS
    signed = {f"{name}, signed": sign(source) for name, source in sources.items()}
    # The widget without its appearance, and one that is not printed: the judge sees both.
    plain = signed["plain, signed"]
    at = plain.index(b"/AP<</N")
    end = plain.index(b">>", at) + 2
    broken = {
        "no appearance": plain[:at] + b" " * (end - at) + plain[end:],
        "not printed": plain.replace(b"/F 132", b"/F 130"),
    }
    found = complaints(tmp_path, sources | signed | broken)
    for name in ORIGINALS:
        assert found[name] == set(), name
    for name in OTHERS:
        assert found[name] != set(), name
    assert {name: found[f"{name}, signed"] for name in sources} == {name: found[name] for name in sources}
    assert any("lacks an appearance" in one for one in found["no appearance"]), found["no appearance"]
    assert any("Flags of Widget" in one for one in found["not printed"]), found["not printed"]
