"""Replies: errors as the contract defines them, JSON without the word `error`, and names in archives."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.work import calls_made

from batchseal import errors
from batchseal.api.archive import Names, safe
from batchseal.api.problem import Problems, nothing_signed
from batchseal.api.result import REPLY_PIECE_BYTES, Pieces, split
from batchseal.api.schemas import cause_of, encode
from batchseal.operation import DocumentStatus, SignError

STATUS = {  # The code, the HTTP status of the original product, and ours, from the wire contract.
    errors.InternalError: ("0.0.1", 500, 500),
    errors.InvalidRequest: ("0.0.2", 500, 400),
    errors.NotConfigured: ("0.0.3", 500, 500),
    errors.TooLarge: ("0.0.4", 500, 413),
    errors.ValueNotAllowed: ("0.0.6", 500, 400),
    errors.InvalidToken: ("0.0.10", 401, 401),
    errors.UnknownClientService: ("1.1.0", 401, 401),
    errors.InactiveClientService: ("1.1.1", 401, 403),
    errors.TooManyRequests: (None, 429, 429),
    errors.CrossSite: ("batchseal.cross_site", 403, 403),
    errors.NotSignable: ("batchseal.not_signable", 500, 422),
    errors.SigningUnavailable: ("batchseal.signing_unavailable", 503, 503),
    errors.NotFound: ("batchseal.not_found", 404, 404),
    errors.NoSpace: ("batchseal.no_space", 507, 507),
    errors.PayloadUnavailable: ("batchseal.payload_unavailable", 503, 503),
}


@pytest.mark.parametrize("kind", STATUS)
def test_problems(kind: type[errors.ApiError]) -> None:
    code, vendor, ours = STATUS[kind]
    for vendor_status_codes, status in ((False, ours), (True, vendor)):
        problems = Problems(vendor_status_codes=vendor_status_codes)
        body = json.loads(problems.body(kind("why")))
        assert problems.status(kind("why")) == body["status"] == status
        assert body.get("errorCode") == code
        assert body["errorCodeDescription"] == kind.description()
        assert body["causeMessage"] == body["detail"] == "why"
        headers = dict(problems.headers(kind("why")))
        assert (b"retry-after" in headers) == (status in (429, 503, 507))
        assert (b"www-authenticate" in headers) == (status == 401)


@dataclass
class Row:
    """The parts of a document's row that a reply about its failure needs."""

    name: str
    sign_error: SignError | None
    cause: str | None
    status: DocumentStatus = DocumentStatus.ERROR_SIGNING


@pytest.mark.parametrize(
    ("sign_errors", "kind"),
    [
        (["NOT_SIGNABLE"], errors.NotSignable),
        (["NOT_SIGNABLE", "NOT_SIGNABLE"], errors.NotSignable),
        (["CONFIGURATION_SIGN_ERROR"], errors.ValueNotAllowed),
        (["NOT_DRAWABLE"], errors.VisibleSignatureImpossible),
        (["NOT_DRAWABLE", "CONFIGURATION_SIGN_ERROR"], errors.VisibleSignatureImpossible),
        (["NOT_DRAWABLE", "NOT_SIGNABLE"], errors.NotSignable),
        (["CONFIGURATION_SIGN_ERROR", "NOT_SIGNABLE"], errors.NotSignable),
        # Another try may help one of these, so the reply may not say that none does.
        (["NOT_SIGNABLE", "CERT_SERVICE_GLOBAL_ERROR"], errors.SigningUnavailable),
        (["CONFIGURATION_SIGN_ERROR", "TIMESTAMP_SIGN_ERROR"], errors.SigningUnavailable),
        (["NOT_SIGNABLE", "INVALID_CERT_SERVICE_CREDS"], errors.NotConfigured),
        (["INVALID_CERT_ACCESS_ACCOUNT"], errors.NotConfigured),
        (["INVALID_CERTIFICATE_SIGN_ERROR"], errors.NotConfigured),
        (["NOT_SIGNABLE", "STORAGE_SERVICE_GLOBAL_ERROR"], errors.InternalError),
        (["SIGN_OPERATION_INTERNAL_ERROR"], errors.InternalError),
    ],
)
def test_why_no_document_was_signed(sign_errors: list[str], kind: type[errors.ApiError]) -> None:
    rows = [Row(f"{at}.pdf", SignError[name], f"cause {name}") for at, name in enumerate(sign_errors)]
    failure = nothing_signed(rows)  # type: ignore[arg-type]
    assert type(failure) is kind
    (decided,) = [row for row in rows if failure.cause == f"{row.name}: {row.cause}"][:1]
    assert failure.cause.count(decided.name) == 1


def test_each_reason_of_a_failed_document_has_its_error() -> None:
    for reason in SignError:
        failure = nothing_signed([Row("a.pdf", reason, "why")])  # type: ignore[list-item]
        assert failure.cause == "a.pdf: why", reason


def test_the_name_stands_in_front_of_a_cause_once() -> None:
    for stored in ("the PDF is encrypted", "a.pdf: the PDF is encrypted"):  # the second form is that of release 0.1
        assert cause_of(Row("a.pdf", SignError.NOT_SIGNABLE, stored)) == "a.pdf: the PDF is encrypted"  # type: ignore[arg-type]
    assert cause_of(Row("a.pdf", None, None)) == "a.pdf: could not be signed"  # type: ignore[arg-type]


def test_callers_see_only_the_sign_errors_of_the_contract() -> None:
    assert {reason.label for reason in SignError} == SignError.__members__.keys() - {
        "NOT_SIGNABLE",
        "NOT_DRAWABLE",
    }


def test_a_reason_that_earlier_releases_do_not_know_is_stored_as_one_that_they_know() -> None:
    cause = "2.2.1: the PDF does not have the page"
    for reason in SignError:
        words = cause if reason is SignError.NOT_DRAWABLE else "why"
        assert SignError.read(reason.stored, words) is reason
    assert SignError.NOT_DRAWABLE.stored is SignError.CONFIGURATION_SIGN_ERROR
    assert SignError.read(0, cause) is None


def test_a_taken_reference_tells_whose_it_is() -> None:
    taken = errors.ReferenceTaken("mine", 7)
    taken.location = "/there"
    problems = Problems(vendor_status_codes=False)
    assert json.loads(problems.body(taken))["id"] == 7
    assert dict(problems.headers(taken))[b"location"] == b"/there"


@given(st.text() | st.lists(st.sampled_from(["error", "\x0e", "\x1e", "rror", "e", "\\", '"', "er"])).map("".join))
def test_json_never_has_the_forbidden_word_and_reads_the_same(text: str) -> None:
    text += "error" + text
    try:
        encoded = encode({"name": text})
    except UnicodeEncodeError:
        return  # A lone surrogate cannot be encoded.
    assert b"error" not in encoded
    assert msgspec.json.decode(encoded) == {"name": text}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FT 2021/5.a.pdf", "FT 2021_5.a.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("c:\\a\x00b.pdf", "c__a_b.pdf"),
        ("...", "document"),
        ("é" * 300 + ".pdf", "é" * 118 + ".pdf"),
        ("." + "x" * 300, "x" * 240),
        ("a." + "x" * 300, "a." + "x" * 238),
    ],
)
def test_names_in_an_archive_are_safe(name: str, expected: str) -> None:
    assert safe(name) == expected


@given(st.text(max_size=100).map(lambda text: text * 4))
def test_no_name_escapes_or_is_empty(name: str) -> None:
    made = safe(name)
    assert made
    assert len(made.encode("utf-8", "replace")) <= 255
    assert not {"/", "\\", "\x00"} & set(made)
    assert made not in (".", "..")


def test_a_record_has_the_name_of_its_document_or_a_number() -> None:
    names = Names()
    first = names.entry("r", "a.pdf")
    assert (first, names.beside(first, ".ers")) == ("r.a.pdf", "r.a.pdf.ers")
    again = names.entry("r", "a.pdf")
    assert names.beside(again, ".ers") == "r.a (2).pdf.ers"
    taken = names.entry("r", "A.PDF.ERS")  # on some systems the same as the first record
    assert taken == "r.A.PDF (2).ERS"
    assert names.entry("r", "b.pdf.ers") == "r.b.pdf.ers"
    assert names.beside(names.entry("r", "b.pdf"), ".ers") == "r.b.pdf (2).ers"
    longest = names.entry("r", "x" * 300 + ".pdf")
    assert len(names.beside(longest, ".ers").encode()) <= 255


def test_names_in_an_archive_are_unique() -> None:
    names = Names()
    made = [names.entry("r", name) for name in ("a.pdf", "A.pdf", "a.pdf", "a (2).pdf", "b")]
    assert len({name.casefold() for name in made}) == 5
    assert made[0] == "r.a.pdf"


def test_equal_names_are_numbered_in_their_order() -> None:
    names = Names()
    wanted = ("a.pdf", "a (2).pdf", "A.pdf", "a (2).pdf", "a.pdf", "a (4).pdf")
    assert [names.entry("r", name) for name in wanted] == [
        "r.a.pdf",
        "r.a (2).pdf",
        "r.A (3).pdf",
        "r.a (2) (2).pdf",
        "r.a (4).pdf",
        "r.a (4) (2).pdf",
    ]


@pytest.mark.parametrize(
    "name_of",
    [
        lambda number: "a.pdf",
        lambda number: "A.pdf" if number % 2 else "a.pdf",
        lambda number: f"a ({number // 2}).pdf" if number % 2 else "a.pdf",
        lambda number: "a (2)" + " (2)" * (number % 3),
        lambda number: f"a ({1000 - number}).pdf" if number < 1000 else "a.pdf",
    ],
)
def test_the_work_for_names_in_an_archive_grows_with_their_number(name_of: Callable[[int], str]) -> None:
    def name_all(count: int) -> None:
        names = Names()
        for number in range(count):
            names.entry("r", name_of(number))

    assert calls_made(lambda: name_all(2000)) < 20 * 2000


@pytest.mark.parametrize("character", ["a", "\u00e9", "\U0001f600", "\u0316\u0301"])
def test_the_work_for_a_long_name_does_not_grow_with_its_length(character: str) -> None:
    assert calls_made(lambda: safe(character * 4000 + ".pdf")) < 30
    assert safe(character * 4000 + ".pdf").endswith(".pdf")
    assert 230 < len(safe(character * 4000 + ".pdf").encode()) <= 240


def test_a_long_name_is_cut_as_its_composed_form() -> None:
    assert safe("u\u0308\u0304" * 1000 + ".pdf") == "\u01d6" * 118 + ".pdf"


@given(st.lists(st.integers(0, 5 * REPLY_PIECE_BYTES).map(lambda n: bytes([n % 251]) * n), max_size=6))
def test_pieces_change_nothing(parts: list[bytes]) -> None:
    pieces = Pieces()
    sent = [piece for part in parts for piece in pieces.add(part)] + pieces.flush()
    assert b"".join(sent) == b"".join(parts)
    assert all(sent)  # An empty piece would end the reply.
    assert all(len(piece) <= 4 * REPLY_PIECE_BYTES for piece in sent)


def test_split_passes_small_pieces_on_uncopied() -> None:
    piece = b"x" * 1000
    assert split(piece)[0] is piece
