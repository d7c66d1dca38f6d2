"""What a multipart body may hold beside its documents, and that whatever is wrong with it is refused as the caller's mistake."""

import json
import time

import pytest

from batchseal.errors import ApiError, InvalidRequest, TooLarge
from batchseal.intake.framing import MAX_PART_HEADERS
from batchseal.intake.multipart import MAX_BOUNDARY_BYTES, MAX_OTHER_PARTS, QUOTED, MultipartIntake
from batchseal.intake.schema import Limits

LIMITS = Limits(max_documents=3)
ENTRY = {
    "documentRequest": {"externalReference": "d", "name": "a.pdf", "contentType": "application/pdf"},
    "signatureInfo": {"signatureType": "PAdES"},
}
REQUEST = json.dumps({"externalReference": "r", "description": "d", "documents": [ENTRY]}).encode()


def part(name: str, content: bytes, *headers: bytes, boundary: bytes = b"b") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"\r\n'.encode()
    return b"--" + boundary + b"\r\n" + disposition + b"".join(headers) + b"\r\n" + content + b"\r\n"


def read(body: bytes, boundary: bytes = b"b", media_type: str = "") -> None:
    intake = MultipartIntake(LIMITS, media_type or f"multipart/form-data; boundary={boundary.decode()}")
    for at in range(0, len(body), 1 << 16):
        intake.feed(body[at : at + (1 << 16)])
    intake.finish()


def whole(*more: bytes, boundary: bytes = b"b") -> bytes:
    own = part("signRequest", REQUEST, boundary=boundary) + part("files", b"%PDF-1.4", boundary=boundary)
    return own + b"".join(more) + b"--" + boundary + b"--\r\n"


def test_other_parts_are_ignored_up_to_a_number() -> None:
    read(whole(part("x", b"") * MAX_OTHER_PARTS))
    for unknown in (part("x", b""), part("", b""), b"--b\r\n\r\n\r\n", b"--b\r\nContent-Type: text/plain\r\n\r\n\r\n"):
        with pytest.raises(TooLarge, match="parts that are neither"):
            read(whole(unknown * (MAX_OTHER_PARTS + 1)))


def test_files_are_counted_as_documents() -> None:
    with pytest.raises(TooLarge, match="more than 3 documents"):
        read(part("files", b"%PDF-1.4") * 4)


@pytest.mark.parametrize("boundary", [b"B" * MAX_BOUNDARY_BYTES, b"-" * MAX_BOUNDARY_BYTES, b"'()+_,-./:=?"])
def test_every_boundary_of_rfc_2046_is_taken(boundary: bytes) -> None:
    media_type = f'multipart/form-data; boundary="{boundary.decode()}"'
    read(whole(boundary=boundary), media_type=media_type)


@pytest.mark.parametrize("length", [MAX_BOUNDARY_BYTES + 1, 257, 10_000])
def test_a_longer_boundary_is_refused(length: int) -> None:
    with pytest.raises(InvalidRequest, match=f"the boundary has {length} bytes"):
        read(whole(boundary=b"B" * length), b"B" * length)


def test_headers_of_a_part_have_limits() -> None:
    read(whole(part("x", b"", *[b"X%d: a\r\n" % n for n in range(MAX_PART_HEADERS - 1)])))
    for headers in ([b"X%d: a\r\n" % n for n in range(MAX_PART_HEADERS)], [b"X: " + b"a" * 5000 + b"\r\n"]):
        with pytest.raises(TooLarge, match="headers of a part"):
            read(whole(part("x", b"", *headers)))


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nContent-Disposition form-data\r\n\r\n\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=\"files\"; filename*=utf-9''%ff\r\n\r\n%PDF\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=\"\xff\xfe\"; name*0*=u\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n: \r\n\r\n\r\n--b--\r\n",
        b"--b\rx",
        b"--bx\r\n",
        whole()[:-8],
        part("signRequest", b"\xff\xfe") + b"--b--\r\n",
        part("signRequest", b"") + b"--b--\r\n",
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_is_the_callers_mistake(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read(body)
    assert 400 <= refused.value.status < 500


def test_a_break_of_the_framing_is_named_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    broken = part("files", b"%PDF" + b"x" * 100_000) + b"--b\r\n\x01"
    with pytest.raises(InvalidRequest) as refused:
        read(broken)
    assert refused.value.cause == f"the framing of the multipart body is wrong at about byte {len(broken) - 1}"
    assert not caplog.records  # whoever sends such bodies does not fill the log


@pytest.mark.parametrize(
    "media_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=b", '"', ""]
)
def test_a_type_without_a_boundary_is_refused(media_type: str) -> None:
    with pytest.raises(InvalidRequest):
        MultipartIntake(LIMITS, media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=b; boundary=b",
        'multipart/form-data; charset="a;\\"b"; BOUNDARY = a ;boundary="b"',
        'multipart/form-data; boundary="b"; x=1; Boundary=',
    ],
)
def test_a_type_with_two_boundaries_is_refused(media_type: str) -> None:
    with pytest.raises(InvalidRequest, match="more than one parameter boundary"):
        MultipartIntake(LIMITS, media_type)


def test_other_parameters_and_text_in_quotes_do_not_count() -> None:
    read(whole(), media_type='multipart/form-data; charset=x; charset=y; boundary=b; title="; boundary=a"')
    named = b'--b\r\nContent-Disposition: form-data; filename="a;name=x.pdf"; name="files"\r\n\r\n%PDF\r\n'
    read(part("signRequest", REQUEST) + named + b"--b--\r\n")


@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        (b'Content-Disposition: form-data; name="x"; name="files"\r\n', "more than one parameter name"),
        (b'Content-Disposition: form-data; name="files"; NAME ="x"\r\n', "more than one parameter name"),
        (
            b'Content-Disposition: form-data; name="x"\r\ncontent-disposition: form-data; name="files"\r\n',
            "more than one Content-Disposition header",
        ),
    ],
)
def test_a_part_that_has_two_names_is_refused(headers: bytes, cause: str) -> None:
    with pytest.raises(InvalidRequest, match=cause):
        read(part("signRequest", REQUEST) + b"--b\r\n" + headers + b"\r\n%PDF\r\n--b--\r\n")


def test_the_work_for_quotes_grows_with_their_number() -> None:
    """Unfinished quotes, or what looks like them, are not read again from each of their bytes."""
    began = time.process_time()
    for filling in (b'\\"', b'"', b"\\", b'";'):
        header = b'form-data; name="' + filling * (1 << 20)
        QUOTED.sub(b"", header)
    assert time.process_time() - began < 2.0
