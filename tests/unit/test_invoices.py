"""The generated invoices are what the demo says they are."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.invoices import DOCUMENT_BYTES, invoice, write_invoices
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.xref import XRefSectionType

NUMBERS = range(1, 9)  # every form twice


@pytest.mark.parametrize("number", NUMBERS)
def test_an_invoice_is_a_sound_pdf_of_the_right_size(number: int) -> None:
    data = invoice(number)
    assert 0.98 * DOCUMENT_BYTES < len(data) < 1.02 * DOCUMENT_BYTES
    reader = PdfFileReader(io.BytesIO(data))
    pages = int(reader.root["/Pages"]["/Count"])
    assert 1 <= pages <= 3
    text = b"".join(page_content(reader, page) for page in range(pages))
    assert f"(Fatura FT 2026/{number:05d})".encode() in text
    assert "Descrição".encode("cp1252") in text
    assert len(reader.root["/Pages"]["/Kids"][0]["/Resources"]["/XObject"]["/Im1"].data) > 150_000


def page_content(reader: PdfFileReader, number: int) -> bytes:
    content: bytes = reader.root["/Pages"]["/Kids"][number]["/Contents"].data
    return content


def test_half_have_tables_and_half_streams() -> None:
    kinds = []
    for number in NUMBERS:
        data = invoice(number, size_bytes=20_000)
        reader = PdfFileReader(io.BytesIO(data))
        kinds.append(reader.xrefs.get_xref_container_info(0).xref_section_type)
        assert (b"/ObjStm" in data) == (kinds[-1] is XRefSectionType.STREAM)
    assert kinds == [XRefSectionType.STREAM, XRefSectionType.STANDARD] * 4


def test_the_same_seed_gives_the_same_file() -> None:
    assert invoice(1) == invoice(1)
    assert invoice(1) != invoice(2)
    assert invoice(1, seed=1) != invoice(1, seed=2)


@pytest.mark.skipif(shutil.which("qpdf") is None, reason="qpdf is not installed")
def test_qpdf_finds_nothing(tmp_path: Path) -> None:
    for path in write_invoices(tmp_path, 8):
        result = subprocess.run(["qpdf", "--check", path], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "WARNING" not in result.stderr
