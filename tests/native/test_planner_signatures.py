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
