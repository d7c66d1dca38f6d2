"""Encrypted documents: those that open for everybody are signed, in every form of encryption, and the others refused by name."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from harness.validators import itext_verify, judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import CONTENTS_BYTES, local_signer
from harness.validators.samples import document, text_field, with_stream, with_table, xref_stream
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.support.encrypted_pdf import (
    ALLOWED,
    FILE_ID,
    GIVEN_KEY,
    KINDS,
    Kind,
    dictionary,
    encrypt,
    encrypted,
    sealing,
)

from batchseal._native import planner
from batchseal._native.pdf_encryption import Encryption, FileKey
from batchseal._native.planner import PlannedUpdate, PlanRefusal, plan
from batchseal.formats.pades.encryption import Planning, file_key

APPEARANCE = b"/DA(/Helv 0 Tf)"
CLEAR_TEXT = b"BT /F1 12 Tf 72 700 Td (seen by all) Tj ET"
OBJECTS = document(
    form=b"8 0 R",
    annots=b"[7 0 R]",
    extra={
        5: b"<</Length %d>>\nstream\n%s\nendstream" % (len(CLEAR_TEXT), CLEAR_TEXT),
        7: text_field(b"(Signature1)"),
        8: b"<</Fields[7 0 R]%s>>" % APPEARANCE,
    },
)
# A catalog and a page that hold what else is an object of its own, so that strings of the form are copied with the catalog.
NESTED = document(form=b"<</Fields[7 0 R]%s>>" % APPEARANCE, annots=b"[7 0 R]", extra={7: text_field(b"(Signature1)")})
NESTED[1] = NESTED[1].replace(b"/Type/Catalog", b"/Type/Catalog/Lang(pt-\\(PT\\))/Own<46c3a9>")
# Without /Type, as some writers leave it out.
UNTYPED = OBJECTS | {1: OBJECTS[1].replace(b"/Type/Catalog", b"")}
LAYOUTS: dict[str, tuple[dict[int, bytes], str, tuple[int, ...]]] = {
    "table": (OBJECTS, "table", ()),
    "stream": (OBJECTS, "stream", ()),
    "compressed": (OBJECTS, "stream", (1, 2, 3, 4, 7, 8)),
    "compressed, nested": (NESTED, "stream", (1, 4, 7)),
    "hybrid": (OBJECTS, "hybrid", (7, 8)),
    "untyped": (UNTYPED, "table", ()),
}
REASON, LOCATION = "Fatura eletrónica (1)", "日本"


def signed(original: bytes, **options: Any) -> bytes:
    given: dict[str, Any] = {"reason": REASON, "location": LOCATION, "signing_time": "D:20261121120000Z"} | options
    update = Planning(original)(contents_bytes=CONTENTS_BYTES, **given)
    assert isinstance(update, PlannedUpdate), update
    return local_signer().complete(original, update.head, update.reserved_bytes, update.tail)


def layout(kind: Kind | str, name: str, **options: Any) -> bytes:
    objects, form, compressed = LAYOUTS[name]
    return encrypted(kind, objects, form, compressed=compressed, **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("encrypted")
    made: dict[tuple[str, str], Path] = {}
    for kind in KINDS:
        for name in LAYOUTS:
            path = made[kind, name] = folder / f"{len(made)}.pdf"
            path.write_bytes(signed(layout(kind, name, direct=name == "stream")))
    return made


def test_pyhanko_takes_all_and_reads_their_texts_in_clear(files: dict[tuple[str, str], Path]) -> None:
    for (kind, name), path in files.items():
        if not KINDS[kind].known_to_pyhanko:
            continue
        # Its strict mode takes no hybrid, and no encryption dictionary in the trailer.
        verdicts = pyhanko_verify(path, local_signer().root_der, strict=name not in ("hybrid", "stream"))
        assert [(v.field, v.good) for v in verdicts] == [("Signature2", True)], (kind, name, verdicts)
        reader = PdfFileReader(io.BytesIO(path.read_bytes()), strict=False)
        reader.decrypt("")
        signature, form = reader.embedded_signatures[0], reader.root["/AcroForm"]
        texts = [str(signature.sig_object[key]) for key in ("/Reason", "/Location", "/M")]
        assert texts == [REASON, LOCATION, "D:20261121120000Z"], (kind, name)
        assert str(form["/DA"]) == "/Helv 0 Tf", (kind, name)
        assert [str(field.get_object()["/T"]) for field in form["/Fields"]] == ["Signature1", "Signature2"], (
            kind,
            name,
        )
        if "nested" in name:
            assert str(reader.root["/Lang"]) == "pt-(PT)"
            assert bytes(reader.root["/Own"].original_bytes) == bytes.fromhex("46c3a9")


def test_pdfsig_and_itext_find_them_valid(files: dict[tuple[str, str], Path]) -> None:
    with judging():
        poppler, itext = pdfsig_verify(files.values(), local_signer().root_pem), itext_verify(files.values())
    for (kind, name), path in files.items():
        # Both know only one method for strings and streams.
        if KINDS[kind].strings != KINDS[kind].streams:
            continue
        assert [v.good for v in poppler[path]] == [True], (kind, name, poppler[path])
        if KINDS[kind].revision < 6:
            assert [v.good for v in itext[path].verdicts] == [True], (kind, name, itext[path])
        else:
            assert "Unknown encryption type R = 6" in itext[path].detail, (kind, name, itext[path])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_request_is_in_clear_where_strings_are_encrypted(kind: str) -> None:
    for name in LAYOUTS:
        original = layout(kind, name)
        added = signed(original)[len(original) :]
        in_clear = KINDS[kind].strings == "none"
        for text in (b"(Fatura", b"FEFF65E5672C", b"(Signature2)", b"(D:2026"):
            assert (text in added) == in_clear, (kind, name, text)
        # /Contents, the trailer and what it says of the encryption are not encrypted.
        assert added.count(b"/Encrypt ") == 1
        assert re.search(rb"/Contents <30[0-9a-f]{100}", added)
        assert b"/ID [<000102" in added
        if name in ("stream", "compressed", "compressed, nested"):
            assert b"/Type/XRef/W[1" in added


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_and_a_third_signature_are_as_good(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "thrice.pdf"
    path.write_bytes(signed(signed(signed(layout(kind, "compressed, nested")))))
    with judging():
        if KINDS[kind].strings == KINDS[kind].streams:
            assert [v.valid for v in pdfsig_verify([path], local_signer().root_pem)[path]] == [True] * 3
    if KINDS[kind].known_to_pyhanko:
        verdicts = pyhanko_verify(path, local_signer().root_der)
        assert [v.field for v in verdicts] == ["Signature2", "Signature3", "Signature4"]
        assert all(v.valid and v.trusted for v in verdicts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_xref_is_rebuilt_with_what_object_streams_hold(kind: str) -> None:
    original = layout(kind, "compressed")
    at = original.rindex(b"startxref\n") + 10
    update = Planning(original[:at] + b"7\n%%EOF\n")(contents_bytes=100, signing_time="D:2026")
    assert isinstance(update, PlannedUpdate), update
    assert update.rebuilt
    assert update.field_name == "Signature2"
    assert b"/Encrypt " in update.tail


@pytest.mark.parametrize("parameters", [b"[<</Name/Identity>> null]", b"[null null]", b"<</Name/Identity>>"])
@pytest.mark.parametrize("kind", ["RC4-128", "AES-128", "AES-256, revision 6"])
def test_an_object_stream_may_say_that_it_is_not_encrypted(kind: str, parameters: bytes) -> None:
    """7.6.6: a filter /Crypt that names /Identity, or nothing, which is the same."""
    key, text = dictionary(KINDS[kind])
    number = max(OBJECTS) + 1
    encrypts = sealing(KINDS[kind], key, clear=frozenset({number}))

    def seal(at: int, value: bytes) -> bytes:
        marked = b"/Filter[/Crypt/FlateDecode]/DecodeParms" + parameters
        return encrypts(at, value.replace(b"/Filter/FlateDecode", marked) if b"/ObjStm" in value else value)

    trailer = b"/Encrypt %d 0 R/ID[<%s><00>]" % (number, FILE_ID.hex().encode())
    original = with_stream(OBJECTS | {number: text}, compressed=(1, 4, 7, 8), trailer=trailer, seal=seal)
    update = Planning(original)(contents_bytes=100, signing_time="D:2026")
    assert isinstance(update, PlannedUpdate), update
    assert update.field_name == "Signature2"


def test_the_same_seed_gives_the_same_update_and_no_vector_twice() -> None:
    original = layout("AES-256, revision 6", "compressed, nested", user="")
    options: dict[str, Any] = {"contents_bytes": 100, "reason": "x", "location": "x", "signing_time": "x"}
    found = plan(original, **options)
    assert isinstance(found, Encryption)
    key = file_key(found)
    assert isinstance(key, bytes)

    def update(seed: bytes) -> PlannedUpdate:
        planned = plan(original, file_key=FileKey(key, found.strings, found.streams, seed), **options)
        assert isinstance(planned, PlannedUpdate)
        return planned

    first, again, other = update(bytes(16)), update(bytes(16)), update(bytes(15) + b"1")
    assert (first.head, first.tail) == (again.head, again.tail)
    assert len(first.tail) == len(other.tail)
    vectors = [re.findall(rb"<([0-9A-F]{32})[0-9A-F]{32,}>", planned.tail) for planned in (first, other)]
    assert len(vectors[0]) >= 6
    assert len({*vectors[0], *vectors[1]}) == 2 * len(vectors[0])


@pytest.mark.parametrize(
    "key",
    [
        FileKey(b"1234", "RC4", "RC4", bytes(16)),
        FileKey(bytes(17), "RC4", "RC4", bytes(16)),
        FileKey(bytes(15), "AES-128", "none", bytes(16)),
        FileKey(bytes(16), "none", "AES-256", bytes(16)),
        FileKey(bytes(16), "RC4", "RC4", bytes(15)),
    ],
)
def test_a_key_that_fits_no_method_is_a_mistake_of_the_caller(key: FileKey) -> None:
    with pytest.raises(ValueError, match="length"):
        plan(layout("RC4-128", "table"), contents_bytes=10, signing_time="x", file_key=key)


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_fields_are_read_wherever_they_stand(kind: str) -> None:
    """In the field, behind a reference, in UTF-16, in a lock; in an object of its own and in an object stream."""
    names: list[Callable[[dict[int, bytes]], None]] = [
        lambda objects: objects.update({7: text_field(b" 9 0 R"), 9: b"(Signature1)"}),
        lambda objects: objects.update({7: text_field(b"<feff00530069006700>")}),
        lambda objects: objects.update({7: text_field(b"<FEFF005300690067006E006100740075007200650031>")}),
        lambda objects: objects.update(
            {
                7: b"<</FT/Sig/T(x)/V 9 0 R>>",
                9: b"<</Type/Sig/ByteRange[0 1 2 3]/Contents 11 0 R/Reference[10 0 R]>>",
                10: b"<</TransformMethod/FieldMDP/TransformParams<</Action/Include/Fields[(Signature1)]>>>>",
                11: b"null",
            }
        ),
    ]
    for number, change in enumerate(names):
        for compressed in ((), (1, 7, 8)):
            objects = dict(OBJECTS)
            change(objects)
            more = tuple(at for at in (9, 10) if at in objects) if compressed else ()
            update = Planning(encrypted(kind, objects, "stream", compressed=compressed + more))(
                contents_bytes=10, signing_time="x"
            )
            assert isinstance(update, PlannedUpdate), update
            assert update.field_name == ("Signature1" if number == 1 else "Signature2"), (number, compressed)


def test_the_planner_says_what_the_key_is_derived_from() -> None:
    kind = KINDS["AES-128, metadata in clear"]
    original = encrypted(kind, OBJECTS, key=GIVEN_KEY[:16], entries={"O": b"o" * 40, "U": b"u\n(" * 3})
    found = plan(original, contents_bytes=10, signing_time="x")
    assert found == Encryption(
        4, 4, 128, ALLOWED, False, "AES-128", "AES-128", b"o" * 40, b"u\n(" * 3, b"", b"", b"", bytes(range(16))
    )


def test_short_strings_that_grow_stay_within_the_bound() -> None:
    """A string of two bytes in an object stream takes 66 when it is encrypted by itself."""
    objects = dict(NESTED)
    objects[1] = objects[1].replace(b"/Own<46c3a9>", b"/Own[" + b"()" * 30_000 + b"]")
    original = encrypted("AES-128", objects, "stream", compressed=(1, 4, 7))
    refusal = Planning(original)(contents_bytes=10, signing_time="x")
    assert isinstance(refusal, PlanRefusal)
    assert refusal.code == "limit_update"
    objects[1] = objects[1].replace(b"()" * 30_000, b"()" * 300)
    original = encrypted("AES-128", objects, "stream", compressed=(1, 4, 7))
    update = Planning(original)(contents_bytes=10, signing_time="x")
    assert isinstance(update, PlannedUpdate)
    assert len(update.head) + len(update.tail) <= planner.update_bound(len(original))


@pytest.mark.parametrize("kind", ["RC4-128", "AES-256, revision 6"])
def test_object_streams_that_share_their_bytes_cost_no_more_than_the_file_allows(kind: str) -> None:
    """200 of them cover the same two megabytes, which could be decrypted and held 200 times."""
    count, first, filler = 200, 100, 2 << 20
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[%s]>>" % b" ".join(b"%d 0 R" % (first + 2 * at + 1) for at in range(count)),
    }
    key, objects[3] = dictionary(KINDS[kind], key=GIVEN_KEY[: KINDS[kind].key_bytes])
    head, begun = b"<</Type/ObjStm/N 1/First 6/Length %08d>>\nstream\n", 48
    frame = len(b"100 0 obj\n%s\nendobj\n" % (head % 0)) + begun
    for at in range(count):
        number = first + 2 * at
        data = encrypt(KINDS[kind].streams, key, number, (b"%d 0 null" % (number + 1)).ljust(begun), bytes(16))[:begun]
        after = (count - at - 1) * frame + len(b"\nendobj\n999 0 obj\n") + filler
        objects[number] = head % (begun + after) + data
    objects[999] = bytes(filler) + b"\nendstream"
    original = with_table(objects, trailer=b"/Encrypt 3 0 R")
    entries = {first + 2 * at + 1: (2, first + 2 * at, 0) for at in range(count)}
    stream = xref_stream(1000, len(original), entries, b"/Root 1 0 R/Encrypt 3 0 R/Prev %d" % int(original.split()[-2]))
    original += stream + b"startxref\n%d\n%%%%EOF\n" % len(original)
    found = plan(original, contents_bytes=10, signing_time="x")
    assert isinstance(found, Encryption)
    start = time.process_time()
    refusal = plan(
        original,
        contents_bytes=10,
        signing_time="x",
        file_key=FileKey(key, found.strings, found.streams, bytes(16)),
    )
    assert time.process_time() - start < 2
    assert isinstance(refusal, PlanRefusal)
    assert refusal.code in ("limit_objects", "limit_memory")


@pytest.mark.parametrize("method", ["RC4", "AES-128", "AES-256"])
def test_the_stream_of_the_appearance_is_encrypted(method: str) -> None:
    kind = next(kind for kind in KINDS.values() if method == kind.streams == kind.strings and kind.key_bytes >= 16)
    original = encrypted(kind, OBJECTS, key=GIVEN_KEY[: kind.key_bytes])
    key = FileKey(GIVEN_KEY[: kind.key_bytes], method, method, bytes(range(16)))
    update = plan(original, contents_bytes=10, signing_time="x", file_key=key)
    assert isinstance(update, PlannedUpdate)
    found = re.search(
        rb"(\d+) 0 obj\n<</Type/XObject.*?/Length (\d+)>>\nstream\n(.*?)\nendstream", update.tail, re.DOTALL
    )
    assert found
    assert len(found[3]) == int(found[2]) == (0 if method == "RC4" else 32)
    if method != "RC4":
        assert found[3] == encrypt(method, key.key, int(found[1]), b"", found[3][:16])
        counter = found[3][:16]
        seeds = Cipher(algorithms.AES(bytes(range(16))), modes.CBC(bytes(16))).decryptor()
        assert int.from_bytes(seeds.update(counter) + seeds.finalize(), "little") < 16


@pytest.mark.parametrize("kind", ["AES-128", "AES-256, revision 6"])
def test_a_document_in_which_nothing_is_encrypted_is_signed_in_clear(kind: str) -> None:
    """It says so by /Identity for strings and for streams."""
    text = dictionary(KINDS[kind])[1].replace(b"/StmF/StdCF/StrF/StdCF", b"/StmF/Identity/StrF/Identity")
    added = signed(
        with_table(document(extra={7: text}), trailer=b"/Encrypt 7 0 R/ID[<%s><00>]" % FILE_ID.hex().encode())
    )
    assert b"(Signature1)" in added
