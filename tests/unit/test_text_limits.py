"""Each text of a request has a limit, in both forms of a body, whether the text is stored or ignored."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.pictures import picture

from batchseal.errors import TooLarge
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.schema import Limits

LIMITS = Limits(
    max_reference_characters=10, max_name_characters=20, max_description_characters=40, max_text_characters=30
)
CONTENT = b"%PDF-1.7 not much"
IMAGE = picture("PNG", "RGB", (90, 60), noise=True)


def request() -> dict[str, Any]:
    """A request whose texts have the greatest length that the limits allow. None of the letters is ASCII."""
    visible = {
        **{"locationType": "COORDINATE", "locationValue": "page=1,x=140.00000,y=350.00000"},
        **{"oneOffTemplate": "é" * 30, "imageValue": IMAGE, "font": "size=11,color=#000000,name=aaa"},
    }
    entry = {
        "documentRequest": {"externalReference": "é" * 10, "name": "é" * 20, "contentType": "application/pdf"},
        "signatureInfo": {
            **{"signatureType": "PAdES", "reason": "é" * 30, "location": "😀" * 30},
            **{"visibleSignatureInfo": visible, "advancedSignatureInfo": {"signatureLocation": "é" * 30}},
        },
    }
    preservation = {"alias": "é" * 30, "deliveryInfo": {"personReceiver": [{"email": "é" * 30}]}}
    return {
        **{"externalReference": "é" * 10, "description": "😀" * 40, "preservationInfo": preservation},
        "documents": [entry],
    }


def read_json(body: dict[str, Any]) -> None:
    body["documents"][0]["documentRequest"]["base64Content"] = base64.b64encode(CONTENT).decode()
    intake = JsonIntake(LIMITS)
    intake.feed(json.dumps(body).encode())
    intake.finish()


def read_multipart(body: dict[str, Any]) -> None:
    parts = [
        b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(body, ensure_ascii=False).encode(),
        b'Content-Disposition: form-data; name="files"\r\n\r\n' + CONTENT,
    ]
    intake = MultipartIntake(LIMITS, "multipart/form-data; boundary=cut")
    intake.feed(b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n")
    intake.finish()


FORMS = [read_json, read_multipart]
PLACES = [
    "externalReference",
    "description",
    "preservationInfo.alias",
    "preservationInfo.deliveryInfo.personReceiver[0].email",
    "documents[0].documentRequest.externalReference",
    "documents[0].documentRequest.name",
    "documents[0].signatureInfo.reason",
    "documents[0].signatureInfo.location",
    "documents[0].signatureInfo.visibleSignatureInfo.oneOffTemplate",
    "documents[0].signatureInfo.visibleSignatureInfo.font",
    "documents[0].signatureInfo.advancedSignatureInfo.signatureLocation",
]


@pytest.mark.parametrize("read", FORMS)
def test_texts_within_their_limits_are_taken(read: Callable[[dict[str, Any]], None]) -> None:
    read(request())


@pytest.mark.parametrize("read", FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_a_text_that_is_longer_by_one_character_is_refused_by_name(
    place: str, read: Callable[[dict[str, Any]], None]
) -> None:
    body: Any = request()
    *way, last = place.replace("[0]", ".0").split(".")
    holder = body
    for step in way:
        holder = holder[int(step) if step == "0" else step]
    holder[last] += "x"
    with pytest.raises(TooLarge) as refusal:
        read(body)
    length = len(holder[last])
    assert refusal.value.cause == f"{place} has {length} characters, the limit is {length - 1}"
