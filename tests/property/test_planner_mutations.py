"""Whatever bytes come in: a plan whose offsets are right, or a refusal with a known code; never a crash, never a hang."""

import time
import zlib

import pytest
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.encrypted_pdf import GIVEN_KEY, encrypted_samples

from batchseal._native.pdf_encryption import Encryption, FileKey
from batchseal._native.pdf_inflate import inflate
from batchseal._native.planner import PlannedUpdate, PlanRefusal, plan, refusal_codes, update_bound
from batchseal.formats.pades.existing_field import SignatureFacts, unmet_demand
from batchseal.signature import Level

FORM = document(form=b"8 0 R", annots=b"9 0 R", extra={7: text_field(b"(x)"), 8: b"<</Fields[7 0 R]>>", 9: b"[7 0 R]"})
LOCK = b"<</Action/Include/Fields[(x)]/P 2>>"
SIGNATURE_FIELD = (
    b"<</Type/Annot/Subtype/Widget/FT/Sig/T<FEFF0073>/Rect[1 2.5 3 4]/Lock %s/SV<</Ff 1/Filter/X>>>>" % LOCK
)
FIELDS = FORM | {8: b"<</Fields[7 0 R 10 0 R]>>", 10: b"<</T(p)/Kids[11 0 R]>>", 11: SIGNATURE_FIELD}
SOURCES = [
    with_table(FORM),
    with_table({6: FORM[6]}, original=with_table(FORM), trailer=b"/Prev 900"),
    with_stream(FORM, compressed=[1, 2, 3, 4, 7, 8, 9]),
    hybrid(FORM, [7, 8, 9]),
    *encrypted_samples(),
    with_table(FIELDS),
    with_stream(FIELDS, compressed=[7, 8, 9, 10, 11]),
]
WORDS = [
    b"/Prev 0",
    b"999999999999",
    b"-1",
    b"obj",
    b"endobj",
    b"<<",
    b">>",
    b"[",
    b"(",
    b"stream",
    b"xref",
    b"trailer",
    b"/W[1 9 9]",
    b"1 0 R",
    b"/Encrypt 9 0 R",
    b"/V 5/R 6",
    b"/Identity",
]
CODES = refusal_codes()

patches = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 30), st.one_of(st.binary(max_size=12), st.sampled_from(WORDS))),
    max_size=5,
)


def check(original: bytes) -> None:
    for field in (None, "p.s"):
        answer = plan(original, contents_bytes=64, reason="x", signing_time="D:2026", field=field)
        if isinstance(answer, Encryption):
            methods = (answer.strings, answer.streams)
            key = FileKey(
                GIVEN_KEY[: 32 if "AES-256" in methods else 16 if "AES-128" in methods else 5], *methods, bytes(16)
            )
            answer = plan(original, contents_bytes=64, reason="x", signing_time="D:2026", field=field, file_key=key)
        assert not isinstance(answer, Encryption)
        check_planned(original, answer)


def check_planned(original: bytes, answer: PlannedUpdate | PlanRefusal) -> None:
    if not isinstance(answer, PlannedUpdate):
        assert answer.message.startswith(CODES[answer.code])
        return
    assert len(answer.head) + len(answer.tail) <= update_bound(len(original)) + 4 * len("xD:2026")
    facts = SignatureFacts(Level.B, "sha256", "x", (b"",))
    assert unmet_demand(answer.seed_values, facts) is None or answer.seed_values
    begin = original[answer.skipped_bytes :]
    assert begin.startswith(b"%PDF-")
    start = len(begin) + len(answer.head)
    assert answer.byte_range == (0, start, start + answer.reserved_bytes, len(answer.tail))
    assert answer.head.endswith(b"/Contents ")
    whole = begin + answer.head + b"<" + b"0" * (answer.reserved_bytes - 2) + b">" + answer.tail
    newest = int(answer.tail[answer.tail.rindex(b"startxref") :].split()[1])
    assert whole[newest:].startswith(b"xref") or whole[newest:].split(maxsplit=3)[2] == b"obj"
    assert whole.endswith(b"%%EOF\n")


@given(source=st.sampled_from(SOURCES), changes=patches, cut=st.floats(0, 1))
@settings(max_examples=400)
def test_mutated_documents(source: bytes, changes: list[tuple[float, int, bytes]], cut: float) -> None:
    for place, removed, text in changes:
        at = int(place * len(source))
        source = source[:at] + text + source[at + removed :]
    began = time.process_time()
    check(source if cut > 0.1 else source[: int(cut * 10 * len(source))])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("source", SOURCES[-2:])
def test_a_field_that_is_not_damaged_is_found(source: bytes) -> None:
    found = plan(source, contents_bytes=64, signing_time="D:2026", field="p.s")
    assert isinstance(found, PlannedUpdate)
    assert unmet_demand(found.seed_values, SignatureFacts(Level.B, "sha256", None, (b"",))) is not None


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_behind_a_header(data: bytes) -> None:
    check(b"%PDF-1.7\n" + data)


@pytest.mark.parametrize("source", SOURCES)
def test_every_truncation(source: bytes) -> None:
    for end in range(0, len(source), 3):
        check(source[:end])


@given(
    data=st.binary(max_size=4000),
    repeats=st.integers(1, 60),
    level=st.integers(0, 9),
    strategy=st.sampled_from([0, 1, 2, 3, 4]),
)
def test_inflate_agrees_with_zlib(data: bytes, repeats: int, level: int, strategy: int) -> None:
    data *= repeats
    encoder = zlib.compressobj(level, strategy=strategy)
    packed = encoder.compress(data) + encoder.flush()
    assert inflate(packed, len(data)) == data
    assert inflate(packed[:-4] + b"????", len(data)) == data
    assert data.startswith(inflate(packed[: len(packed) // 2], len(data)))
    if data:
        with pytest.raises(MemoryError):
            inflate(packed, len(data) - 1)


@given(data=st.binary(max_size=300))
def test_inflate_of_anything_gives_what_zlib_gives_before_it_stops(data: bytes) -> None:
    ours = inflate(b"\x78\x9c" + data, 1 << 20)
    decoder = zlib.decompressobj()
    theirs = b""
    for byte in b"\x78\x9c" + data:
        try:
            theirs += decoder.decompress(bytes([byte]))
        except zlib.error:
            break
    assert ours[: len(theirs)] == theirs[: len(ours)]
