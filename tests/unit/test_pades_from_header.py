"""PDFs with other bytes before their %PDF header. The signed file begins at the header, so that all judges count alike.

Otherwise poppler counts a /ByteRange from the first byte of a file and iText from the header, and pyHanko opens no such file.
"""

import hashlib
from pathlib import Path

import pytest
from harness.validators import itext_verify, judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import local_signer
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table
from tests.support.encrypted_pdf import encrypted
from tests.support.pdf_levels import pdf_level, reader_of
from tests.support.seen_pages import Page, credential, description, evidence, pdf, prepare, refused, seen, signed
from tests.support.small_pki import SmallPki
from tests.support.xml_documents import joined
from tests.unit.test_long_term import complete

from batchseal.document import Description, Prepared, Stretch
from batchseal.formats.digests import signed_digest
from batchseal.formats.pades.pades import FROM_HEADER_NAME, Pades
from batchseal.formats.registry import Formats
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureLook

FIELD = {7: text_field(b"(name)")}
FORM = document(form=b"8 0 R", extra=FIELD | {8: b"<</Fields[7 0 R]>>"})
# What printers and mail programs put before a PDF, and the longest that readers look through.
MAIL = b"Content-Type: application/pdf\r\n\r\n"
PRINTER = b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n"
LONGEST = b"#" * 1018 + b"\n"
WANTED = Description("r", "a.pdf", ContentType.PDF, "Motivo", None)


def counted_from_first_byte(before: bytes) -> bytes:
    """A PDF whose offsets count from the first byte of the file. Its header is further on."""
    return with_table(document(), original=before + b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")


SOURCES: dict[str, tuple[bytes, bytes]] = {
    "table": (MAIL, with_table(document())),
    "stream": (PRINTER, with_stream(document(), compressed=[1, 2, 3, 4])),
    "hybrid": (b"\n", hybrid(FORM, [7, 8])),
    "no line break": (LONGEST, with_table(document())[:-1]),
    "wrong offsets": (MAIL, counted_from_first_byte(MAIL)[len(MAIL) :]),
    "encrypted": (PRINTER, encrypted("AES-128", document())),
    "two headers": (b"%PDF\n%PDF -1.4\n", with_table(document())),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_signature_is_good_for_all(source: str, tmp_path: Path) -> None:
    before, rest = SOURCES[source]
    original = before + rest
    (prepared,) = prepare([original], [WANTED])
    assert isinstance(prepared, Prepared), prepared
    assert prepared.format == FROM_HEADER_NAME
    whole = signed(original, prepared)
    assert whole.startswith(rest)
    path, unsigned = tmp_path / "signed.pdf", tmp_path / "unsigned.pdf"
    path.write_bytes(whole)
    unsigned.write_bytes(original)
    verdicts = pyhanko_verify(path, local_signer().root_der, strict=source not in ("hybrid", "wrong offsets"))
    assert [(one.field, one.good) for one in verdicts] == [("Signature1", True)], verdicts
    with judging():
        assert [one.good for one in pdfsig_verify([path], local_signer().root_pem)[path]] == [True]
        reports = itext_verify([path, unsigned])
        assert reports[unsigned].pages == 1
        assert [one.good for one in reports[path].verdicts] == [True], reports
        assert not reports[path].rebuilt


def test_what_stands_before_the_header_changes_nothing_else() -> None:
    results = prepare([with_table(document()), MAIL + with_table(document())], [WANTED, WANTED])
    plain, further = (one for one in results if isinstance(one, Prepared))
    assert further.digest == plain.digest
    assert further.additional_bytes == plain.additional_bytes - len(MAIL)


@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
def test_levels_count_from_the_header_too(level: Level) -> None:
    pki, original = SmallPki(), MAIL + with_stream(FORM, compressed=[1, 4, 7])
    wanted = Description("r", "a.pdf", ContentType.PDF, None, None, level=level)
    prepared, proof, _ = complete(Pades(), original, wanted, pki)
    found = Formats(has_time_stamps=True).named(prepared.format)
    whole = joined(found.package(original, prepared, proof, pki.signer.credential))
    assert len(whole) == len(original) + found.added_bytes(prepared, proof, pki.signer.credential)
    assert pdf_level(whole, pki.root.der) == level.name


def test_a_visible_signature_stands_where_it_is_wanted(tmp_path: Path) -> None:
    original = MAIL + pdf(Page(rotation=90, crops=True))
    (prepared,) = prepare([original], [description(seen(SignatureLook("Selado", 60, 30), x=15, y=20))])
    assert isinstance(prepared, Prepared), prepared
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole := signed(original, prepared))
    assert [one.good for one in pyhanko_verify(path, local_signer().root_der)] == [True]
    (field,) = (one.get_object() for one in reader_of(whole).root["/AcroForm"]["/Fields"])
    box = [float(value) for value in field["/Rect"]]
    assert sorted((box[2] - box[0], box[3] - box[1])) == [30, 60]


def test_an_evidence_record_is_about_the_file_that_is_delivered() -> None:
    """The digest begins with what was kept of it, and the bytes before the header are not in it."""
    original = LONGEST + with_table(document())
    wanted = Description("r", "a.pdf", ContentType.PDF, None, None, evidence_record=True)
    (prepared,) = prepare([original], [wanted])
    assert isinstance(prepared, Prepared) and prepared.begun is not None
    whole = signed(original, prepared)
    apart = Pades().package(Stretch(0, len(original)), prepared, evidence(prepared), credential())
    read: list[tuple[int, int]] = []

    def reading(start: int, stop: int) -> bytes:
        read.append((start, stop))
        return original[start:stop]

    for begun in (prepared.begun, None):
        assert signed_digest(apart, begun, len(original), reading) == hashlib.sha256(whole).digest()
    assert read[0][0] == len(LONGEST)


def earlier(where: str) -> bytes:
    signature = b"<</Type/Sig/ByteRange[0 1 2 3]/Contents<00>>>"
    if where == "field":
        return with_table(document(form=b"<</Fields[7 0 R]>>", extra={7: b"<</FT/Sig/T(old)/V 8 0 R>>", 8: signature}))
    return with_table(document(catalog=b"/Perms<</DocMDP 8 0 R>>", extra={8: signature}))


@pytest.mark.parametrize("where", ["field", "certification"])
def test_an_earlier_signature_is_not_moved(where: str) -> None:
    """It may count the bytes before the header, so that it would be broken without them."""
    refusal = refused(MAIL + earlier(where), WANTED)
    assert refusal.sign_error is SignError.NOT_SIGNABLE
    assert "before the PDF's %PDF header" in refusal.cause
