"""Signatures that are already there stay valid: ours, pyHanko's, certifications and field locks, in table and stream form."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import keys
from cryptography.hazmat.primitives import serialization
from harness.validators import itext_verify, judging, pdfsig_verify, pyhanko_verify
from harness.validators.local_signer import CONTENTS_BYTES, local_signer
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from batchseal._native.planner import PlannedUpdate, PlanRefusal, plan

EXTRA = {7: text_field(b"(name)"), 8: b"<</Fields[7 0 R]>>"}
BASES = {
    "table": with_table(document(form=b"<</Fields[7 0 R]>>", annots=b"[7 0 R]", extra=EXTRA)),
    "stream": with_stream(document(form=b"8 0 R", annots=b"[7 0 R]", extra=EXTRA), compressed=[1, 2, 3, 4, 7, 8]),
}


def ours(original: bytes) -> bytes:
    update = plan(original, contents_bytes=CONTENTS_BYTES, signing_time="D:20261121120000Z")
    assert isinstance(update, PlannedUpdate), update
    return local_signer().complete(original, update.head, update.reserved_bytes, update.tail)


@cache
def _peer() -> signers.SimpleSigner:
    encoded = local_signer().key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = keys.PrivateKeyInfo.load(encoded)
    return signers.SimpleSigner(local_signer().certificate, key, SimpleCertificateStore())


def theirs(original: bytes, field: fields.SigFieldSpec | None = None, **options: Any) -> bytes:
    metadata = signers.PdfSignatureMetadata(field_name="Theirs", md_algorithm="sha256", **options)
    writer = IncrementalPdfFileWriter(io.BytesIO(original))
    return signers.PdfSigner(metadata, _peer(), new_field_spec=field).sign_pdf(writer).getvalue()


def certified(original: bytes, level: fields.MDPPerm) -> bytes:
    return theirs(original, certify=True, docmdp_permissions=level)


def locked(original: bytes, action: fields.FieldMDPAction, *names: str) -> bytes:
    lock = fields.FieldMDPSpec(action, fields=list(names) or None)
    return theirs(original, fields.SigFieldSpec("Theirs", field_mdp_spec=lock))


CHAINS: dict[str, Callable[[bytes], bytes]] = {
    "ours twice": lambda b: ours(ours(b)),
    "ours four times": lambda b: ours(ours(ours(ours(b)))),
    "theirs, ours": lambda b: ours(theirs(b)),
    "ours, theirs": lambda b: theirs(ours(b)),
    "ours, theirs, ours": lambda b: ours(theirs(ours(b))),
    "certified for forms, ours": lambda b: ours(certified(b, fields.MDPPerm.FILL_FORMS)),
    "certified for annotations, ours twice": lambda b: ours(ours(certified(b, fields.MDPPerm.ANNOTATE))),
    "another field locked, ours": lambda b: ours(locked(b, fields.FieldMDPAction.INCLUDE, "name")),
    "our name locked, ours": lambda b: ours(locked(b, fields.FieldMDPAction.INCLUDE, "Signature1")),
}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("signatures")
    paths: dict[str, Path] = {}
    for base, original in BASES.items():
        for name, chain in CHAINS.items():
            paths[f"{base}: {name}"] = folder / f"{len(paths)}.pdf"
            paths[f"{base}: {name}"].write_bytes(chain(original))
    path = paths["hybrid: ours twice"] = folder / "hybrid.pdf"
    path.write_bytes(ours(ours(hybrid(document(form=b"8 0 R", annots=b"[7 0 R]", extra=EXTRA), [7, 8]))))
    return paths


def test_pyhanko_finds_all_signatures_valid(signed: dict[str, Path]) -> None:
    for name, path in signed.items():
        verdicts = pyhanko_verify(path, local_signer().root_der, strict=not name.startswith("hybrid"))
        assert len(verdicts) >= 2, name
        assert [v for v in verdicts if not (v.valid and v.trusted)] == [], name
        assert [v.whole_file for v in verdicts] == [False] * (len(verdicts) - 1) + [True], name


def test_pdfsig_and_itext_find_all_signatures_valid(signed: dict[str, Path]) -> None:
    with judging():
        poppler, itext = pdfsig_verify(signed.values(), local_signer().root_pem), itext_verify(signed.values())
    for name, path in signed.items():
        assert not itext[path].rebuilt, name
        for verdicts in (poppler[path], itext[path].verdicts):
            assert len(verdicts) >= 2, name
            assert all(v.valid for v in verdicts), (name, verdicts)
            assert verdicts[-1].whole_file, name


@pytest.mark.parametrize("trailer", [b"/Prev 0", b"/Prev null", b"/XRefStm 0", b"/Prev 0/XRefStm 0"])
def test_an_offset_of_nothing_means_that_there_is_no_section_before(trailer: bytes, tmp_path: Path) -> None:
    path = tmp_path / "signed.pdf"
    once = ours(with_table(document(), trailer=trailer))
    update = plan(once, contents_bytes=CONTENTS_BYTES, signing_time="D:20261121120000Z")
    assert isinstance(update, PlannedUpdate)
    assert once.count(b"\n1 0 obj") == 2, "the update has what it changes, and is no repair"
    assert once.count(b"\n5 0 obj") == 1
    assert b"/Prev " in once[once.rindex(b"trailer") :]
    path.write_bytes(ours(once))
    with judging():
        assert [verdict.valid for verdict in pdfsig_verify([path], local_signer().root_pem)[path]] == [True, True]


@pytest.mark.parametrize("is_meant", [True, False], ids=["a reference", "an offset with 0 R behind it"])
def test_a_reference_in_prev_is_followed_or_is_the_offset(is_meant: bool) -> None:
    first = with_table(document())
    start = int(first[first.rindex(b"startxref") :].split()[1])
    later = {9: b"%d" % start, 6: document()[6]} if is_meant else {6: document()[6]}
    base = with_table(later, original=first, trailer=b"/Prev %d 0 R" % (9 if is_meant else start))
    for original, name in ((base, "Signature1"), (ours(base), "Signature2")):
        update = plan(original, contents_bytes=CONTENTS_BYTES, signing_time="D:20261121120000Z")
        assert isinstance(update, PlannedUpdate), update
        assert update.field_name == name
        assert not update.rebuilt


def test_a_signature_that_covers_more_than_the_file_is_refused_by_name() -> None:
    whole = theirs(BASES["table"])
    at = whole.rindex(b"/ByteRange")
    end = whole.index(b"]", at)
    numbers = whole[at:end].split(b"[")[1].split()
    longer = b"%d" % (int(numbers[3]) + 20)
    widened = whole[:at] + b"/ByteRange [" + b" ".join([*numbers[:3], longer])
    widened = widened.ljust(end) + whole[end:]
    assert len(widened) == len(whole)
    refusal = plan(widened, contents_bytes=CONTENTS_BYTES, signing_time="D:2026")
    assert isinstance(refusal, PlanRefusal)
    assert refusal.code == "signature_beyond_end"


SIGNATURE = (
    b"<</Type/Sig/Filter/Adobe.PPKLite/ByteRange[0 1 2 3]/Contents<00>"
    b"/Reference[<</TransformMethod/%s/TransformParams<<%s>>>>]>>"
)
TREES: dict[str, tuple[bytes, dict[int, bytes]]] = {
    "nested, without SigFlags": (
        b"<</Fields[7 0 R]>>",
        {7: b"<</T(parent)/Kids[8 0 R]>>", 8: b"<</T(s)/FT/Sig/V 9 0 R>>"},
    ),
    "the type is the parent's": (
        b"<</Fields[7 0 R]/SigFlags 3>>",
        {7: b"<</T(parent)/FT/Sig/Kids[8 0 R]>>", 8: b"<</T(s)/V 9 0 R>>"},
    ),
    "the value is the parent's": (
        b"<</Fields[7 0 R]>>",
        {7: b"<</T(parent)/V 9 0 R/Kids[8 0 R]>>", 8: b"<</FT/Sig>>"},
    ),
    "both are the grandparent's": (
        b"<</Fields[7 0 R]>>",
        {7: b"<</T(parent)/FT/Sig/V 9 0 R/Kids[8 0 R]>>", 8: b"<</Kids[10 0 R]>>", 10: b"<</Subtype/Widget>>"},
    ),
    "seen before without a type": (
        b"<</Fields[8 0 R 7 0 R]>>",
        {7: b"<</T(parent)/FT/Sig/Kids[8 0 R]>>", 8: b"<</T(s)/V 9 0 R>>"},
    ),
    "no type at all": (b"<</Fields[8 0 R]>>", {8: b"<</T(s)/V 9 0 R>>"}),
    "the type twice": (b"<</Fields[8 0 R]>>", {8: b"<</T(s)/FT/Tx/#46T/Sig/V 9 0 R>>"}),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        (b"DocMDP", b"/P 1", "certified_no_changes"),
        (b"DocMDP", b"/P 2/P 1", "ambiguous"),
        (b"FieldMDP", b"/Action/All", "fields_locked"),
    ],
)
def test_a_signature_is_found_wherever_its_field_inherits_from(
    tree: str, method: bytes, parameters: bytes, code: str
) -> None:
    form, fields = TREES[tree]
    objects = fields | {9: SIGNATURE % (method, parameters)}
    refusal = plan(with_table(document(form=form, extra=objects)), contents_bytes=100, signing_time="D:2026")
    assert isinstance(refusal, PlanRefusal)
    assert refusal.code == ("ambiguous" if tree == "the type twice" else code)


@pytest.mark.parametrize("base", BASES)
def test_what_an_author_forbids_is_refused(base: str) -> None:
    forbidden = {
        "certified_no_changes": [certified(BASES[base], fields.MDPPerm.NO_CHANGES)],
        "fields_locked": [
            locked(BASES[base], fields.FieldMDPAction.ALL),
            locked(BASES[base], fields.FieldMDPAction.EXCLUDE, "name"),
        ],
    }
    for code, originals in forbidden.items():
        for original in originals:
            refusal = plan(original, contents_bytes=CONTENTS_BYTES, signing_time="D:2026")
            assert isinstance(refusal, PlanRefusal)
            assert refusal.code == code
