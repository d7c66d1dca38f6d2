"""Every document that cannot be signed is refused by a code and a message for a person, whatever is wrong with it."""

import time
import zlib
from typing import Any

import pytest
from harness.validators.samples import document, object_stream, text_field, with_stream, with_table

from batchseal._native.planner import PlannedUpdate, PlanRefusal, plan, refusal_codes

GOOD = with_table(document())


def code(original: bytes, **options: Any) -> str:
    given: dict[str, Any] = {"contents_bytes": 3000, "signing_time": "D:20261121120000Z"} | options
    answer = plan(original, **given)
    if isinstance(answer, PlannedUpdate):
        return ""
    assert isinstance(answer, PlanRefusal)
    assert answer.message.startswith(refusal_codes()[answer.code])
    return answer.code


def nested(depth: int) -> bytes:
    return with_table(document(catalog=b"/X " + b"[" * depth + b"]" * depth))


def page_tree(depth: int) -> bytes:
    objects = document()
    objects[2] = b"<</Type/Pages/Count 1/Kids[10 0 R]>>"
    for number in range(10, 10 + depth):
        objects[number] = b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (number + 1)
    objects[10 + depth] = objects[4]
    return with_table(objects)


def reference(method: bytes, parameters: bytes) -> dict[int, bytes]:
    signature = b"<</Type/Sig/Reference[<</TransformMethod/%s/TransformParams<<%s>>>>]>>" % (method, parameters)
    return {7: b"<</FT/Sig/T(old)/V 8 0 R>>", 8: signature}


def with_signature(method: bytes, parameters: bytes, catalog: bytes = b"") -> bytes:
    return with_table(document(form=b"<</Fields[7 0 R]>>", extra=reference(method, parameters), catalog=catalog))


def signed_range(byte_range: bytes, extra: dict[int, bytes] | None = None) -> bytes:
    """A PDF with a signature that covers this range."""
    objects = {7: b"<</FT/Sig/T(old)/V 8 0 R>>", 8: b"<</Type/Sig/ByteRange %s/Contents<00>>>" % byte_range}
    return with_table(document(form=b"<</Fields[7 0 R]>>", extra=objects | (extra or {})))


SIGNED = b"<</Type/Sig/ByteRange[0 1 2 3]/Contents<00>>>"


def loop() -> bytes:
    first = with_table(document(), trailer=b"/Prev 99999")
    start = first.rindex(b"startxref\n") + 10
    at = first[start:].split()[0]
    return first.replace(b"/Prev 99999", b"/Prev " + at.rjust(5))


def bomb() -> bytes:
    """An object stream that holds the catalog and expands to 80 MB."""
    data = zlib.compress(b"1 0 <</Type/Catalog/Pages 2 0 R>>" + bytes(80 << 20), 9)
    stream = b"<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (len(data), data)
    whole = with_stream(document(), compressed=[1])
    container = whole.index(b"7 0 obj\n") + 8
    end = whole.index(b"\nendobj", container)
    moved = whole[:container] + stream + whole[end:]
    shift = len(moved) - len(whole)
    start = int(whole[whole.rindex(b"startxref") :].split()[1])
    return moved[: moved.rindex(b"startxref")] + b"startxref\n%d\n%%%%EOF\n" % (start + shift)


CASES = {
    "not_pdf": [b"", b"x", b"<?xml version='1.0'?>", b"%PDF", bytes(5000)],
    "offset_header": [
        b"junk\n" + with_signature(b"DocMDP", b"/P 2"),
        b"\n" + with_table(document(extra=reference(b"DocMDP", b"/P 2"), catalog=b"/Perms<</DocMDP 8 0 R>>")),
    ],
    "unsupported_encryption": [
        with_table(document(extra={7: b"<</Filter/Standard>>"}), trailer=b"/Encrypt 7 0 R"),
        with_table(document(), trailer=b"/Encrypt<</Filter/Standard>>"),
        b"junk\n" + with_stream(document(), trailer=b"/Encrypt<</Filter/Standard>>"),
    ],
    "certified_no_changes": [
        with_signature(b"DocMDP", b"/P 1"),
        with_table(document(extra=reference(b"DocMDP", b"/P 1"), catalog=b"/Perms<</DocMDP 8 0 R>>")),
    ],
    "fields_locked": [
        with_signature(b"FieldMDP", b"/Action/All"),
        with_signature(b"FieldMDP", b"/Action/Exclude/Fields[(name)]"),
        with_signature(b"FieldMDP", b"/Action/Include/Fields[]/P 1"),
    ],
    "ambiguous": [
        with_signature(b"DocMDP", b"/P 1/P 2"),
        with_signature(b"DocMDP", b"/P 2/#50 1"),
        with_signature(b"FieldMDP", b"/Action/All/Action/Include/Fields[]"),
        with_table(document(form=b"<</Fields[7 0 R]>>", extra={7: b"<</FT/Sig/T(a)/V 8 0 R/V null>>", 8: SIGNED})),
        with_table(document(), trailer=b"/Encrypt<</Filter/Standard>>/Encrypt null"),
    ],
    "signature_beyond_end": [
        signed_range(b"[0 10 20 99999]"),
        signed_range(b"[0 99999 20 30]"),
        signed_range(b"[0 10 20 9 0 R]", {9: b"9223372036854775807"}),
        signed_range(b"[99999 0 99999 1]"),
    ],
    "broken_xref": [b"%PDF-1.7\n", b"%PDF-1.7\nstartxref\n5\n%%EOF"],
    "xref_loop": [loop()],
    "no_catalog": [with_table({2: b"<<>>"}), with_table({1: b"[]"})],
    "no_pages": [
        with_table({1: b"<</Type/Catalog>>"}),
        with_table({1: b"<</Pages 2 0 R>>", 2: b"<</Kids[2 0 R]>>"}),
        with_table({1: b"<</Pages 2 0 R>>", 2: b"<</Kids[3 0 R 3 0 R]>>", 3: b"<</Kids[2 0 R 3 0 R]>>"}),
        with_table({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Kids[2 0 R 2 0 R]>>", 3: b"1"}).replace(
            b"2 0 R 2 0 R", b"3 0 R      "
        ),
    ],
    "broken_object": [
        with_table(document(catalog=b"/X 1[2]")),
        with_table(document(catalog=b"/X 1<</Y 2>>")),
        with_table(document(catalog=b"/X 1{2/Y nonsense")),
        with_table(document(catalog=b"/A nonsense")),
        with_table(document(annots=b"[7 0 R }]")),
    ],
    "limit_depth": [nested(65)],
    "limit_inflate": [bomb()],
    "": [
        GOOD,
        with_table({**document(), 1: b"<</Pages 2 0 R>>"}),
        with_table(document(catalog=b"/X 1 0 R 0 R")),
        with_table(document(form=b"<</Fields[]/DR<</A 1 }>>>>")),
        with_table(document(catalog=b"/X<</Y 1 2.5 true (s) <00> null/Z[1]>>")),
        nested(60),
        page_tree(50),
        page_tree(66),
        page_tree(3000),
        signed_range(b"[0 10 20 30]"),
        signed_range(b"[0 10 20 nonsense]"),
        signed_range(b"null"),
        with_signature(b"DocMDP", b"/P 2/P 2"),
        with_signature(b"DocMDP", b"/P 2"),
        with_signature(b"DocMDP", b"/P 3"),
        with_signature(b"DocMDP", b""),
    ],
}


@pytest.mark.parametrize(("expected", "original"), [(c, o) for c, originals in CASES.items() for o in originals])
def test_refusals(expected: str, original: bytes) -> None:
    assert code(original) == expected


def test_limits_are_the_callers() -> None:
    assert code(GOOD, max_file_bytes=len(GOOD) - 1) == "limit_size"
    assert code(GOOD, max_file_bytes=len(GOOD)) == ""
    assert code(GOOD, max_depth=1) == "limit_depth"
    assert code(GOOD, max_objects=2) == "limit_objects"
    assert code(GOOD, max_xref_sections=0) == "limit_sections"
    assert code(with_stream(document(), compressed=[1]), max_inflated_bytes=20) == "limit_inflate"


def test_an_unknown_filter_is_named() -> None:
    packed = object_stream({1: document()[1]}).replace(b"/FlateDecode", b"/BrotliDecode")
    original = with_stream(document(), compressed=[1]).replace(object_stream({1: document()[1]}), packed)
    assert code(original) in ("unsupported_filter", "no_catalog")


def test_messages_are_for_people() -> None:
    for name, message in refusal_codes().items():
        assert name.isidentifier()
        assert len(message) > 30
        assert "error" not in message, name


@pytest.mark.parametrize("kids", [b"7 0 R 7 0 R 7 0 R", b"8 0 R 8 0 R"])
@pytest.mark.parametrize("field_type", [b"", b"/FT/Tx", b"/FT/Sig"])
def test_a_form_field_that_is_its_own_ancestor_is_visited_once(kids: bytes, field_type: bytes) -> None:
    extra = {7: b"<<%s/Kids[%s]>>" % (field_type, kids), 8: b"<</Kids[7 0 R 8 0 R 7 0 R]>>"}
    assert code(with_table(document(form=b"<</Fields[7 0 R]>>", extra=extra))) == ""


def test_large_objects_that_are_asked_for_again_and_again_end() -> None:
    large = b"<</Kids[" + b"null " * 200_000 + b"]>>"
    kids = b"7 0 R " * 100_000
    original = with_table(document(form=b"<</Fields[%s]>>" % kids, extra={7: large}))
    assert code(original) == "limit_objects"


def test_callers_mistakes_are_exceptions() -> None:
    with pytest.raises(TypeError):
        plan("text", contents_bytes=1, signing_time="")  # type: ignore[call-overload]
    with pytest.raises(OverflowError):
        plan(GOOD, contents_bytes=-1, signing_time="")
    assert code(GOOD, contents_bytes=1 << 40) == "limit_size"
    assert code(GOOD, reason="x" * (2 << 20)) == "limit_size"


def test_fields_are_read_from_object_streams() -> None:
    extra = {7: text_field(b"(Signature1)")}
    original = with_stream(document(form=b"<</Fields[7 0 R]>>", extra=extra), compressed=[1, 7])
    answer = plan(original, contents_bytes=10, signing_time="")
    assert isinstance(answer, PlannedUpdate)
    assert answer.field_name == "Signature2"


@pytest.mark.parametrize(
    "pattern",
    [
        b"1 0 obj (",
        b"1 0 obj <<",
        b"1 0 obj<<>>stream\n",
        b"trailer<<",
        b"trailer(",
        b"obj",
        b"startxref",
        b"1 0 obj<</Type/ObjStm>>stream\n",
    ],
)
def test_no_pattern_makes_a_scan_slow(pattern: bytes) -> None:
    start = time.process_time()
    assert code(b"%PDF-1.7\n" + pattern * (8_000_000 // len(pattern))) in ("broken_xref", "limit_objects", "no_catalog")
    # reading the file twice takes 10 ms; anything quadratic takes minutes
    assert time.process_time() - start < 5
