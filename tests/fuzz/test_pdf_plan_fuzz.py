"""A few seconds of mutated PDFs under AddressSanitizer and UBSan, so that the fuzz driver stays usable; run it longer by hand."""

import shutil
import subprocess
from pathlib import Path

import pytest
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table
from tests.support.encrypted_pdf import encrypted_samples
from tests.support.seen_pages import Page, pdf

ROOT = Path(__file__).parents[2]
FORM = document(form=b"8 0 R", annots=b"[7 0 R]", extra={7: text_field(b"(x)"), 8: b"<</Fields[7 0 R]>>"})
DSS = {9: b"<</Certs[10 0 R]/VRI<<>>>>", 10: b"<</Length 1>>\nstream\nx\nendstream", 11: b"<</ADBE<<>>>>"}
LONG_TERM = document(catalog=b"/DSS 9 0 R/Extensions 11 0 R", extra=DSS)
SIGNATURE_FIELD = (
    b"<</Type/Annot/Subtype/Widget/FT/Sig/T<FEFF0073>/Rect[1 2.5 3 4]/Lock<</Action/Include/Fields[(x)]/P 2>>"
    b"/SV<</Ff 1/Filter/X>>>>"
)
FIELDS = FORM | {8: b"<</Fields[7 0 R 10 0 R]>>", 10: b"<</T(p)/Kids[11 0 R]>>", 11: SIGNATURE_FIELD}
# The driver asks for the field "p.s" in inputs of an odd length.
SOURCES = [
    with_table(FIELDS),
    with_stream(FIELDS, compressed=[7, 8, 10, 11]),
    with_table(LONG_TERM),
    with_stream(LONG_TERM, compressed=[1, 9, 11]),
    with_table(FORM),
    with_stream(FORM, compressed=[1, 2, 3, 4, 7, 8]),
    hybrid(FORM, [7, 8]),
    pdf(Page(rotation=90, crops=True, unit=1.5, inherits=True, profile="1b")),
    pdf(Page(rotation=180, profile="2b", colours=1), pages=3),
    *encrypted_samples(),
]


def test_mutated_documents_under_sanitizers(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    driver = tmp_path / "pdf_plan_fuzz"
    flags = [
        "-std=c11",
        "-D_POSIX_C_SOURCE=200809L",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    sources = [*sorted(ROOT.glob("ext/pdfscan/*.c")), Path(__file__).with_name("pdf_plan_fuzz.c")]
    subprocess.run([compiler, *flags, f"-I{ROOT / 'ext'}", *map(str, sources), "-o", str(driver)], check=True)
    files = []
    for index, source in enumerate(SOURCES):
        files.append(str(tmp_path / f"{index}.pdf"))
        Path(files[-1]).write_bytes(source)
    run = subprocess.run([str(driver), "2", "1", *files], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    runs, planned, refused = (int(word) for word in run.stdout.split()[1:6:2])
    assert runs == planned + refused
    assert planned
    assert refused
