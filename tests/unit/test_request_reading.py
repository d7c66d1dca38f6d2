"""The JSON of a request: which scalars are taken for others, byte order marks, and refusals in the words of JSON."""

import json
from typing import Any

import pytest

from batchseal.document import RequestFacts
from batchseal.errors import ApiError, InvalidRequest
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.reading import Reader
from batchseal.intake.schema import Limits, MultipartRequest
from batchseal.signature import Level

MARK = b"\xef\xbb\xbf"
PDF = "JVBERi0xLjQ="
READER = Reader(MultipartRequest)


def request(**changes: Any) -> dict[str, Any]:
    entry = {
        "documentRequest": {"externalReference": "d", "name": "a.pdf", "contentType": "application/pdf"},
        "signatureInfo": {"signatureType": "PAdES"},
    }
    return {"externalReference": "r", "description": "d", "documents": [entry], **changes}


def parts(body: bytes, *, request_first: bool = True) -> bytes:
    described = b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + body
    file = b'Content-Disposition: form-data; name="files"; filename="a.pdf"\r\n\r\n%PDF-1.4'
    ordered = [described, file] if request_first else [file, described]
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in ordered) + b"--b--\r\n"


def received(intake: JsonIntake | MultipartIntake, body: bytes, piece: int = 1 << 20) -> tuple[RequestFacts, list[Any]]:
    documents = [d for at in range(0, len(body), piece) for d in intake.feed(body[at : at + piece])]
    return intake.finish(), documents


def by_multipart(body: bytes, **options: Any) -> RequestFacts:
    intake = MultipartIntake(Limits(), "multipart/form-data; boundary=b")
    return received(intake, parts(body, **options))[0]


def by_json(table: dict[str, Any], mark: bytes = b"", piece: int = 1 << 20) -> tuple[RequestFacts, list[Any]]:
    for document in table["documents"]:
        document["documentRequest"]["base64Content"] = PDF
    return received(JsonIntake(Limits()), mark + json.dumps(table).encode(), piece)


@pytest.mark.parametrize("request_first", [True, False])
@pytest.mark.parametrize("lead", [MARK, MARK + b"\r\n ", b""])
def test_a_byte_order_mark_before_the_part_of_a_multipart_body_is_ignored(lead: bytes, request_first: bool) -> None:
    assert by_multipart(lead + json.dumps(request()).encode(), request_first=request_first).external_reference == "r"


@pytest.mark.parametrize("piece", [1, 2, 1000])
def test_a_byte_order_mark_before_a_json_body_is_ignored(piece: int) -> None:
    facts, documents = by_json(request(externalReference=2026001), MARK, piece)
    assert (facts.external_reference, len(documents)) == ("2026001", 1)


@pytest.mark.parametrize("lead", [MARK * 2, b" " + MARK, "{}".encode("utf-16"), MARK[:2]])
def test_other_bytes_before_the_json_are_refused_as_what_they_are(lead: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        by_multipart(lead + json.dumps(request()).encode())
    assert "signRequest" in refused.value.cause
    assert "framing" not in refused.value.cause


@pytest.mark.parametrize(
    ("written", "text"),
    [("2026001", "2026001"), ("1.10", "1.10"), ("-0", "-0"), ("1E5", "1E5"), ("9" * 40, "9" * 40), ('"7"', "7")],
)
def test_a_number_is_taken_for_a_text_as_it_is_written(written: str, text: str) -> None:
    body = f'{{"externalReference": {written}, "description": {written}, "unknown": [{written}]}}'.encode()
    taken = READER.read(body, "")
    assert (taken.external_reference, taken.description) == (text, text)


def test_numbers_are_taken_in_every_text_of_a_document() -> None:
    table = request()
    table["documents"][0] = {
        "documentRequest": {"externalReference": 7, "name": 8.50, "contentType": "application/pdf"},
        "signatureInfo": {"signatureType": "PAdES", "reason": 9, "location": 10, "applyTimestamp": "TRUE"},
    }
    (_, (document,)), (described,) = by_json(table), by_multipart(json.dumps(table).encode()).descriptions
    assert document.description == described
    assert (described.external_reference, described.name, described.reason) == ("7", "8.5", "9")
    assert (described.location, described.level) == ("10", Level.T)


def test_a_reference_that_is_a_number_is_known_early() -> None:
    intake = JsonIntake(Limits())
    intake.feed(b'{"externalReference": 12.0, "documents": [{')
    assert intake.early_reference() == "12.0"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"true"', True),
        ('"False"', False),
        ('"TRUE"', True),
        ('" false "', False),
        ("1", True),
        ("0", False),
        ("null", None),
    ],
)
def test_words_and_bits_are_taken_for_booleans(written: str, meant: bool | None) -> None:
    assert READER.read(f'{{"returnSignedContent": {written}}}'.encode(), "").return_signed_content is meant


@pytest.mark.parametrize("written", ['""', '"yes"', '"1"', '"tRUE"', "2", "1.0", "-0", "[]", "{}"])
def test_what_may_mean_either_is_no_boolean(written: str) -> None:
    with pytest.raises(InvalidRequest, match="returnSignedContent: true or false is expected, a"):
        READER.read(f'{{"returnSignedContent": {written}}}'.encode(), "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"externalReference": [1]}', "signRequest.externalReference: a text is expected, a list was sent"),
        ('{"externalReference": true}', "signRequest.externalReference: a text is expected, true was sent"),
        ('{"description": {"a": 1}}', "signRequest.description: a text is expected, an object was sent"),
        ('{"documents": "x"}', "signRequest.documents: a list is expected, a text was sent"),
        ('{"documents": [null]}', "signRequest.documents[0]: an object is expected, null was sent"),
        ('{"documents": [{}, 7]}', "signRequest.documents[1]: an object is expected, a number was sent"),
        (
            '{"documents": [{"documentRequest": {"name": false}}]}',
            "signRequest.documents[0].documentRequest.name: a text is expected, false was sent",
        ),
        ('{"preservationInfo": "none"}', "signRequest.preservationInfo: an object is expected, a text was sent"),
        ("[]", "signRequest: an object is expected, a list was sent"),
        ('{"externalReference": 1', "signRequest is not JSON in UTF-8"),
    ],
)
def test_refusals_use_the_words_of_json(body: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        READER.read(body.encode(), "signRequest")
    assert refused.value.cause == said


@pytest.mark.parametrize(
    "body",
    [
        b'{"externalReference": "\xff"}',
        b'{"externalReference": "\\ud800"}',
        b'{"externalReference": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"externalReference": 5, "description": "\xc3"}',
        b'{"externalReference": 01}',
        b"",
    ],
)
def test_whatever_is_wrong_with_json_is_a_refusal(body: bytes) -> None:
    with pytest.raises(ApiError):
        READER.read(body, "")
