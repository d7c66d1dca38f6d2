"""SIGN_FIELD and PLACEHOLDER through a whole service, synchronous and not: what is drawn where, and what is refused how."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.processes import family
from harness.service import RunningService
from harness.validators import judging, pdfsig_verify, pyhanko_verify
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.support.placeholders import WORD, document, memory_bomb, text
from tests.support.service import ASYNC, ASYNC_PARTS, BASE, FAST, SYNC, finished, get, post

FIELD = b"<</Type/Annot/Subtype/Widget/FT/Sig/T(place)/F 4/P 100 0 R/Rect[72 600 227 650]%s>>"


def with_field(more: bytes = b"") -> bytes:
    """A page with a signature field that is called root.place."""
    extra = {
        1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[11 0 R]/NeedAppearances true>>>>",
        11: b"<</T(root)/Kids[12 0 R]>>",
        12: FIELD % (b"/Parent 11 0 R" + more),
    }
    return document([text("some text")], b"/Annots[12 0 R]", extra)


PLACEHOLDER = {
    "locationType": "PLACEHOLDER",
    "locationValue": WORD,
    "oneOffTemplate": "Signed",
    "area": "width=90,height=30",
}
SIGN_FIELD = {"locationType": "SIGN_FIELD", "locationValue": "root.place", "oneOffTemplate": "Signed"}
GOOD = [(with_field(), SIGN_FIELD), (document([text("no"), text(x=200, y=300)]), PLACEHOLDER)]
# Each with what its cause says.
BAD = [
    (with_field(), SIGN_FIELD | {"locationValue": "other"}, "no signature field of the name"),
    (with_field(b"/V<</Type/Sig>>"), SIGN_FIELD, "signed already"),
    (with_field(b"/SV<</Ff 1/Filter/Other>>"), SIGN_FIELD, "demands Filter"),
    (document([text("no")]), PLACEHOLDER, "does not contain the word"),
    (document([text(x=560)]), PLACEHOLDER, "does not lie on the page"),
    (memory_bomb(), PLACEHOLDER, "fails on this PDF"),
]


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with RunningService(*FAST, "--workers=1") as running:
        yield running


def entry(number: int, content: bytes, visible: dict[str, str]) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": f"doc {number}",
            "name": f"invoice-{number}.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES", "visibleSignatureInfo": visible},
    }


def request(reference: str, entries: list[dict[str, Any]]) -> bytes:
    return json.dumps({"externalReference": reference, "description": "test", "documents": entries}).encode()


def files_first(reference: str, entries: list[dict[str, Any]]) -> tuple[bytes, str]:
    """A body whose descriptions come last, so that the signer prepares the documents and not the worker."""
    contents = [base64.b64decode(one["documentRequest"].pop("base64Content")) for one in entries]
    parts = [b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + one for one in contents]
    parts.append(b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + request(reference, entries))
    return b"".join(
        b"--cut\r\n" + part + b"\r\n" for part in parts
    ) + b"--cut--\r\n", "multipart/form-data; boundary=cut"


def result_of(service: RunningService, way: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents of the result."""
    reference = str(uuid4())
    if way == "sync":
        status, _, body = post(service, request(reference, entries), SYNC)
        assert status == 200, body
        return json.loads(body)["documentList"]
    if way == "async":
        status, _, body = post(service, request(reference, entries), ASYNC)
    else:
        status, _, body = post(service, *reversed_arguments(files_first(reference, entries)))
    assert status == 200, body
    finished(service, reference, 60)
    status, _, body = get(service, f"{BASE}/async/operation/sign/detail/withExternalReference/{reference}")
    assert status == 200
    return json.loads(body)["documentList"]


def reversed_arguments(described: tuple[bytes, str]) -> tuple[bytes, str, str]:
    body, media_type = described
    return body, ASYNC_PARTS, media_type


@pytest.mark.parametrize("way", ["sync", "async", "files first"])
def test_documents_are_signed_where_they_say_and_others_are_refused_by_name(
    way: str, service: RunningService, tmp_path: Path
) -> None:
    cases = [*GOOD, *((content, visible) for content, visible, _ in BAD)]
    documents = result_of(service, way, [entry(n, *case) for n, case in enumerate(cases)])
    assert [one["signStatus"] for one in documents] == ["SIGNED"] * len(GOOD) + ["ERROR_SIGNING"] * len(BAD)
    for one, (_, _, told) in zip(documents[len(GOOD) :], BAD, strict=True):
        assert one["signError"] == "CONFIGURATION_SIGN_ERROR"
        assert one["causeMessage"].startswith(f"{one['name']}: 2.2.1: "), one["causeMessage"]
        assert told in one["causeMessage"]
    paths = []
    for number, one in enumerate(documents[: len(GOOD)]):
        paths.append(tmp_path / f"{number}.pdf")
        paths[-1].write_bytes(base64.b64decode(one["signedContent"]))
    root = service.root.read_bytes()
    with judging():
        verdicts = pdfsig_verify(paths, root)
    for path in paths:
        assert [v.valid for v in verdicts[path]] == [True]
        assert [v.valid for v in pyhanko_verify(path)] == [True]
    field, word = (PdfFileReader(io.BytesIO(path.read_bytes())) for path in paths)
    widget = field.embedded_signatures[0].sig_field
    assert [float(side) for side in widget["/AP"]["/N"]["/BBox"]] == [0, 0, 155, 50]
    assert not field.root["/AcroForm"]["/NeedAppearances"]
    left, bottom, right, top = (float(side) for side in word.embedded_signatures[0].sig_field["/Rect"])
    # The lower left of the word is the upper left of the area, on page 2.
    assert (left, top, right - left, top - bottom) == pytest.approx((200.3, 299.8, 90, 30), abs=1)
    assert word.embedded_signatures[0].sig_field.raw_get("/P").idnum == 102


def test_a_synchronous_request_in_which_nothing_has_a_place_is_an_answer_of_its_own(service: RunningService) -> None:
    for content, visible, told in BAD[:4]:
        status, _, body = post(service, request(str(uuid4()), [entry(0, content, visible)]), SYNC)
        problem = json.loads(body)
        assert (status, problem["errorCode"]) == (400, "2.2.1"), problem
        assert problem["causeMessage"].startswith("invoice-0.pdf: 2.2.1: ")
        assert told in problem["causeMessage"]


def test_the_process_that_searches_is_there_only_when_it_is_used(service: RunningService) -> None:
    result_of(service, "sync", [entry(0, *GOOD[1])])
    keepers = [pid for pid, _ in family(service.process.pid) if "keeper" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert keepers, "it is warm"
    with RunningService(*FAST, "--workers=1") as idle:
        result_of(idle, "sync", [entry(0, *GOOD[0])])
        commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid, _ in family(idle.process.pid)]
        assert not any("keeper" in command for command in commands)
