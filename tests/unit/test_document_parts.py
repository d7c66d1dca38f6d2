"""A document that is too large to be held comes out of a body in parts, and the rest of it at its end."""

import base64
import json
import random
from collections.abc import Callable

import pytest

from batchseal.document import ReceivedDocument
from batchseal.errors import TooLarge
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.parts import PART_BYTES
from batchseal.intake.schema import ANY_CONTENT_TYPE, Limits
from batchseal.operation import ContentType
from batchseal.worker.taken_references import Intake

MOST_BYTES = 2 << 20
RANDOM = random.Random(19)
LARGE = b"%PDF-1.7\n" + RANDOM.randbytes(5_000_000)
CONTENTS = [b"%PDF-1.7 small", LARGE, b"<a/>", LARGE[:MOST_BYTES]]


def entry(number: int) -> dict[str, object]:
    facts = {"externalReference": str(number), "name": "a", "contentType": ANY_CONTENT_TYPE}
    return {"documentRequest": facts, "signatureInfo": {"signatureType": "CAdES"}}


def json_body(contents: list[bytes]) -> bytes:
    entries = [entry(number) for number in range(len(contents))]
    for one, content in zip(entries, contents, strict=True):
        one["documentRequest"] |= {"base64Content": base64.b64encode(content).decode()}  # type: ignore[operator]
    return json.dumps({"externalReference": "r", "description": "", "documents": entries}).encode()


def multipart_body(contents: list[bytes]) -> bytes:
    """The descriptions come last, so the type of a document is known by its first part alone."""
    request = {"externalReference": "r", "description": "", "documents": [entry(n) for n in range(len(contents))]}
    parts = [b'Content-Disposition: form-data; name="files"\r\n\r\n' + content for content in contents]
    parts.append(b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(request).encode())
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"


def json_intake(limits: Limits) -> Intake:
    return JsonIntake(limits)


def multipart_intake(limits: Limits) -> Intake:
    return MultipartIntake(limits, "multipart/form-data; boundary=cut")


FORMS = pytest.mark.parametrize(
    ("opened", "body_of"), [(json_intake, json_body), (multipart_intake, multipart_body)], ids=["json", "multipart"]
)


@FORMS
@pytest.mark.parametrize("piece_bytes", [100_003, PART_BYTES, 1 << 30])
def test_parts_and_rest_are_the_document(
    opened: Callable[[Limits], Intake], body_of: Callable[[list[bytes]], bytes], piece_bytes: int
) -> None:
    intake, body = opened(Limits()), body_of(CONTENTS)
    given, found, most_bytes = dict[int, bytes](), list[ReceivedDocument](), 0
    for at in range(0, len(body), piece_bytes):
        for document in intake.feed(body[at : at + piece_bytes]):
            content = given.get(document.ordinal, b"") + bytes(document.content)
            assert content == CONTENTS[document.ordinal]
            assert document.content_bytes == len(content)
            found.append(document)
        while (part := intake.part(MOST_BYTES)) is not None:
            given[part.ordinal] = given.get(part.ordinal, b"") + bytes(part.content)
            most_bytes = max(most_bytes, len(bytes(part.content)))
    facts = intake.finish()
    assert [document.ordinal for document in found] == [0, 1, 2, 3]
    described = [document.description or facts.descriptions[document.ordinal] for document in found]
    assert [one.content_type for one in described] == [
        *(ContentType.PDF, ContentType.PDF, ContentType.APPLICATION_XML, ContentType.PDF)
    ]
    if piece_bytes < len(body):
        assert given.keys() == {1}
        assert most_bytes <= MOST_BYTES + piece_bytes


@FORMS
@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_counts_the_parts(
    opened: Callable[[Limits], Intake], body_of: Callable[[list[bytes]], bytes], more: int
) -> None:
    intake, body = opened(Limits(max_document_bytes=len(LARGE) - more)), body_of([LARGE])

    def read() -> None:
        for at in range(0, len(body), PART_BYTES):
            intake.feed(body[at : at + PART_BYTES])
            intake.part(MOST_BYTES)

    if more:
        with pytest.raises(TooLarge):
            read()
    else:
        read()
        assert intake.finish().documents_total == 1
