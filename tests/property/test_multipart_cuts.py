"""However a multipart body is cut into pieces, it comes to the same."""

import pytest
from tests.support.service import documents, multipart

from batchseal.errors import InvalidRequest
from batchseal.intake.framing import MAX_PREAMBLE_BYTES
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.schema import Limits

BODY, MEDIA_TYPE = multipart("cuts", documents(2, size_bytes=2_000))
LIMITS = Limits(max_documents=20, max_document_bytes=1 << 20)


def files(body: bytes, piece: int) -> list[bytes]:
    intake = MultipartIntake(LIMITS, MEDIA_TYPE)
    found = [bytes(d.content) for at in range(0, len(body), piece) for d in intake.feed(body[at : at + piece])]
    intake.finish()
    return found


@pytest.mark.parametrize(
    "preamble", [b"", b"\r\n", b"\r\n\x9a:--dr\r\n", b"for readers of 1992\r\n", b"x" * 4000 + b"\n"]
)
@pytest.mark.parametrize("piece", [1, 2, 7, 5000])
def test_what_stands_before_the_first_boundary_is_ignored(preamble: bytes, piece: int) -> None:
    assert files(preamble + BODY, piece) == files(BODY, len(BODY)) == documents(2, size_bytes=2_000)


@pytest.mark.parametrize("preamble", [b"x", b"--drall\r\n--dri", b"x" * MAX_PREAMBLE_BYTES + b"\r\n"])
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_body_that_does_not_begin_with_its_boundary_is_refused(preamble: bytes, piece: int) -> None:
    with pytest.raises(InvalidRequest):
        files(preamble + BODY, piece)
