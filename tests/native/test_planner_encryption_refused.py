"""Encrypted documents that are refused, each by the name of what forbids to sign it."""

import re
from typing import Any

import pytest
from harness.validators.samples import document, with_table
from tests.support.encrypted_pdf import ALLOWED, FILL, FILL_ALONE, KINDS, dictionary, encrypted

from batchseal._native import planner
from batchseal._native.planner import PlannedUpdate, PlanRefusal
from batchseal.formats.pades.encryption import Planning

OBJECTS = document()


def document_of(kind: str, **options: Any) -> bytes:
    return encrypted(kind, OBJECTS, "stream", compressed=(1, 4), **options)


def accepted(original: bytes) -> bool:
    return isinstance(Planning(original)(contents_bytes=100, signing_time="D:2026"), PlannedUpdate)


def refused(original: bytes) -> PlanRefusal:
    refusal = Planning(original)(contents_bytes=100, signing_time="D:2026")
    assert isinstance(refusal, PlanRefusal), refusal
    assert refusal.message.startswith(planner.refusal_codes()[refusal.code])
    return refusal


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_that_needs_a_password_is_refused_by_that_name(kind: str) -> None:
    assert refused(document_of(kind, user="secret")).code == "password_needed"
    assert refused(document_of(kind, user="secret", permissions=0xFFFFF0C0)).code == "password_needed"


@pytest.mark.parametrize(
    ("permissions", "told"),
    [
        (0xFFFFF0C0, "printing, editing, copying, comments and form entries, inserting and turning pages"),
        (ALLOWED & ~FILL & ~FILL_ALONE, "comments and form entries"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_document_whose_owner_forbids_signing_is_refused_by_that_name(kind: str, permissions: int, told: str) -> None:
    refusal = refused(document_of(kind, permissions=permissions))
    assert refusal.code == "signing_forbidden"
    if KINDS[kind].revision == 2:
        told = told.removesuffix(", inserting and turning pages")
    assert refusal.message.endswith(f"(this one restricts {told})")


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_fill_in_forms_may_sign(kind: str) -> None:
    """ISO 32000-2 table 22: bit 6, or bit 9, which revision 2 does not have."""
    assert accepted(document_of(kind, permissions=0xFFFFF0C0 | FILL))
    if KINDS[kind].revision > 2:
        assert accepted(document_of(kind, permissions=0xFFFFF0C0 | FILL_ALONE))
    else:
        assert refused(document_of(kind, permissions=0xFFFFF0C0 | FILL_ALONE)).code == "signing_forbidden"


def with_dictionary(text: bytes, trailer: bytes = b"") -> bytes:
    return with_table(document(extra={7: text}), trailer=b"/Encrypt 7 0 R" + trailer)


R6 = dictionary(KINDS["AES-256, revision 6"])[1]
OTHERS: list[tuple[str, bytes]] = [
    ("public_key_encryption", with_dictionary(b"<</Filter/Adobe.PubSec/SubFilter/adbe.pkcs7.s5/V 4/P -4>>")),
    ("unsupported_encryption", with_dictionary(b"<</Filter/FOPN_fLock/V 1/R 2/P -4>>")),
    ("unsupported_encryption", with_dictionary(b"<</Filter/Standard/V 3/R 3/P -4>>")),
    ("unsupported_encryption", with_dictionary(b"<</Filter/Standard/V 6/R 7/P -4>>")),
    ("unsupported_encryption", with_dictionary(b"<</Filter/Standard/P -4>>")),
    ("unsupported_encryption", with_dictionary(R6.replace(b"/AESV3", b"/AESV4"))),
    ("unsupported_encryption", with_dictionary(R6.replace(b"/StmF/StdCF", b"/StmF/Own"))),
    ("unsupported_encryption", with_dictionary(R6, b"/AuthCode<</MACLocation/Standalone>>")),
    ("broken_encryption", with_dictionary(R6.replace(b"/P -4", b""))),
    ("broken_encryption", with_dictionary(R6.replace(b"/P -4", b"/P(x)"))),
    ("broken_encryption", with_dictionary(R6.replace(b"/P -4", b"/P -8"))),
    ("broken_encryption", with_dictionary(re.sub(rb"/Perms<\w+>", b"", R6))),
    ("broken_encryption", with_dictionary(re.sub(rb"/Perms<\w\w", b"/Perms<??", R6))),
    ("broken_encryption", with_dictionary(re.sub(rb"/UE<\w+>", b"/UE<00>", R6))),
    ("broken_encryption", with_dictionary(re.sub(rb"/U<\w+>", b"/U<00>", R6))),
    ("broken_encryption", with_dictionary(b"[]")),
    ("password_needed", with_dictionary(b"<</Filter/Standard/V 2/R 3/P -4>>")),
    ("password_needed", with_dictionary(re.sub(rb"/U<\w\w", b"/U<77", R6))),
    ("ambiguous", with_dictionary(R6.replace(b"/P -4", b"/P -4/P -8"))),
    ("ambiguous", with_dictionary(R6.replace(b"/Filter/Standard", b"/Filter/Standard/Filter/Other"))),
]


@pytest.mark.parametrize(("code", "original"), OTHERS, ids=[f"{at} {code}" for at, (code, _) in enumerate(OTHERS)])
def test_other_encryption_is_refused_by_name(code: str, original: bytes) -> None:
    assert refused(original).code == code


def test_trailers_that_disagree_on_whether_the_document_is_encrypted_are_refused() -> None:
    """Some readers take only the newest trailer, others any."""
    first = encrypted("AES-128", OBJECTS)
    start = int(first[first.rindex(b"startxref") :].split()[1])
    second = with_table({6: OBJECTS[6]}, original=first, trailer=b"/Prev %d" % start)
    assert refused(second).code == "broken_encryption"
    assert refused(second[: second.rindex(b"startxref")] + b"startxref\n7\n%%EOF\n").code == "broken_encryption"
