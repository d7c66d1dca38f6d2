"""What a request says of its visible signatures: every mistake that lies in its text is found before anything is stored."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.pictures import picture, picture_bytes

from batchseal.document import ReceivedDocument
from batchseal.errors import ApiError, InvalidRequest, TooLarge, VisibleSignatureImpossible
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.schema import Limits
from batchseal.signature import LocationType, SignatureDefaults, VisibleDefaults, VisibleSignature, VisibleTexts
from batchseal.visible import velocity
from batchseal.visible.picture import MAX_PIXELS

CONTENT = b"%PDF-1.7 not much"
PLACE = {"locationType": "COORDINATE", "locationValue": "page=1,x=140,y=35"}
AT = "documents[0].signatureInfo.visibleSignatureInfo"


def request(*visible: dict[str, Any] | None, kind: str = "PAdES") -> dict[str, Any]:
    entries = [
        {
            "documentRequest": {"externalReference": "r", "name": "a.pdf", "contentType": "application/pdf"},
            "signatureInfo": {"signatureType": kind, "visibleSignatureInfo": one},
        }
        for one in visible
    ]
    return {"externalReference": "e", "description": "d", "documents": entries}


def read_json(body: dict[str, Any], defaults: SignatureDefaults) -> list[ReceivedDocument]:
    for entry in body["documents"]:
        entry["documentRequest"]["base64Content"] = base64.b64encode(CONTENT).decode()
    intake = JsonIntake(Limits(), defaults)
    received = intake.feed(json.dumps(body).encode())
    intake.finish()
    return received


def read_multipart(body: dict[str, Any], defaults: SignatureDefaults) -> list[ReceivedDocument]:
    parts = [b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(body).encode()]
    parts += [b'Content-Disposition: form-data; name="files"\r\n\r\n' + CONTENT for _ in body["documents"]]
    intake = MultipartIntake(Limits(), "multipart/form-data; boundary=cut", defaults)
    received = intake.feed(b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n")
    intake.finish()
    return received


FORMS = [read_json, read_multipart]
Read = Callable[[dict[str, Any], SignatureDefaults], list[ReceivedDocument]]


def read(visible: dict[str, Any], defaults: VisibleDefaults | None = None, form: Read = read_json) -> VisibleSignature:
    (received,) = form(request(visible), SignatureDefaults(visible=defaults or VisibleDefaults()))
    assert received.description is not None and received.description.visible
    found = received.description.visible_signature
    assert found is not None
    return found


@pytest.mark.parametrize("form", FORMS)
def test_all_attributes_are_read(form: Read) -> None:
    image = picture_bytes("PNG", "RGBA", (40, 20))
    found = read(
        {
            "templateType": "ONE_OFF",
            "oneOffTemplate": r"Signed by $certificate.getCommonName()\nat ${date}",
            "locationType": "COORDINATE",
            "locationValue": " page = 2 , x=140.5 ,y=35",
            "area": "height=50,width=155",
            "areaBackgroundColor": "#FFeedd",
            "font": "name=courier,color=#0000ff,size=9.5",
            "imageType": "IMAGE_PNG",
            "imageValue": "\r\n".join(base64.b64encode(image).decode()[n : n + 76] for n in range(0, 400, 76)),
        },
        form=form,
    )
    place, look = found.place, found.look
    assert (place.kind, place.page, place.x, place.y) == (LocationType.COORDINATE, 2, 140.5, 35)
    assert (look.width, look.height, look.background) == (155, 50, 0xFFEEDD)
    assert (look.font_name, look.font_size, look.font_colour) == ("courier", 9.5, 0x0000FF)
    assert look.picture is not None and (look.picture.width, look.picture.height) == (40, 20)
    assert look.picture.content == image and not look.picture.is_jpeg


def test_what_is_left_out_or_empty_is_as_the_settings_say() -> None:
    defaults = VisibleDefaults(area="width=200,height=80", template="$reason", pixels_per_point=2.0)
    for empty in (None, ""):
        found = read({**PLACE, "area": empty, "font": empty, "oneOffTemplate": empty, "imageValue": empty}, defaults)
        assert found.look.template == "$reason" and found.look.font_size == 11
        assert (found.place.x, found.place.y, found.look.width, found.look.height) == (70, 17.5, 100, 40)
        assert found.look.background is None


def test_documents_that_ask_for_the_same_share_one_look() -> None:
    image = picture("PNG", "RGBA")
    asked = [{**PLACE, "imageValue": image}, {**PLACE, "imageValue": image, "locationValue": "page=3,x=1,y=1"}]
    first, second = read_json(request(*asked), SignatureDefaults())
    assert first.description is not None and second.description is not None
    one, other = first.description.visible_signature, second.description.visible_signature
    assert one is not None and other is not None
    assert one.look is other.look and one.place != other.place


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"oneOffTemplate": "by $certificate.getPrivateKey()"}, "which is not one of $certificate.getCommonName()"),
    ({"oneOffTemplate": "$foo"}, "oneOffTemplate: the template has '$foo'"),
    ({"oneOffTemplate": "${date"}, "which has no end"),
    ({"oneOffTemplate": "${}"}, "which is not one of"),
    ({"oneOffTemplate": "#set($x = 1)"}, "directives of Velocity are not offered"),
    ({"oneOffTemplate": "#foreach($a in $b)"}, "directives"),
    ({"templateType": "OTHER"}, "templateType: 'OTHER' is not one of ONE_OFF, SERVICE_CUSTOMIZATION"),
    ({"templateType": "SERVICE_CUSTOMIZATION"}, "the configuration has no visibleSignature"),
    ({"locationType": "TOP"}, "locationType: 'TOP' is not one of COORDINATE, SIGN_FIELD, PLACEHOLDER"),
    ({"locationValue": "page=1,x=140"}, "locationValue has no y"),
    ({"locationValue": "page=0,x=1,y=1"}, "page=0 is not a number from 1"),
    ({"locationValue": "page=-1,x=1,y=1"}, "page=-1"),
    ({"locationValue": "page=1.5,x=1,y=1"}, "page is not a whole number"),
    ({"locationValue": "page=1,x=1e3,y=1"}, "x=1e3"),
    ({"locationValue": "page=1,x=nan,y=1"}, "x=nan"),
    ({"locationValue": "page=1,x=1,x=2,y=1"}, "x stands twice"),
    ({"locationValue": "page=1,x=1,y=1,z=1"}, "'z' is not one of page, x, y"),
    ({"locationValue": "140,35"}, "is not a pair"),
    ({"area": "width=155"}, "needs a width and a height"),
    ({"area": "width=0,height=50"}, "width=0"),
    ({"area": "width=155;height=50"}, "needs a width and a height"),
    ({"areaBackgroundColor": "white"}, "areaBackgroundColor: 'white' is not #RRGGBB or transparent"),
    ({"areaBackgroundColor": "#FFF"}, "'#FFF'"),
    ({"font": "color=#12345G"}, "font: color: '#12345G'"),
    ({"font": "size=-3"}, "size=-3"),
    ({"font": "arial"}, "'arial' is not a pair"),
    ({"imageType": "IMAGE_GIF"}, "imageType: 'IMAGE_GIF'"),
    ({"imageType": "IMAGE_PNG", "imageValue": picture("JPEG")}, "is not an IMAGE_PNG, as imageType says"),
    ({"imageType": "IMAGE_JPG", "imageValue": picture("PNG")}, "but an IMAGE_PNG"),
    ({"imageValue": base64.b64encode(b"GIF89a").decode()}, "imageValue is neither a PNG nor a JPEG"),
    ({"imageValue": "%%%%"}, "imageValue is not base64"),
    ({"imageValue": picture("PNG")[:-3]}, "imageValue is not base64"),
    ({"imageValue": base64.b64encode(picture_bytes("PNG")[:-20]).decode()}, "is a damaged IMAGE_PNG"),
    ({"imageValue": base64.b64encode(picture_bytes("JPEG")[:-20]).decode()}, "is a damaged IMAGE_JPG"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("change", "cause"), WRONG)
def test_a_mistake_is_refused_with_the_code_of_the_contract(form: Read, change: dict[str, Any], cause: str) -> None:
    with pytest.raises(VisibleSignatureImpossible) as refusal:
        read({**PLACE, **change}, form=form)
    assert (refusal.value.code, refusal.value.status) == ("2.2.1", 400)
    assert cause in refusal.value.cause and refusal.value.cause.startswith(AT)


@pytest.mark.parametrize("missing", ["locationType", "locationValue"])
@pytest.mark.parametrize("form", FORMS)
def test_a_missing_place_is_named(missing: str, form: Read) -> None:
    with pytest.raises(InvalidRequest, match=f"{missing} is missing"):
        read({key: value for key, value in PLACE.items() if key != missing}, form=form)
    with pytest.raises(InvalidRequest, match="oneOffTemplate is missing"):
        read({**PLACE, "templateType": "ONE_OFF"}, form=form)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_taken(mode: str) -> None:
    look = read({**PLACE, "imageValue": picture("PNG", mode, (33, 9))}).look
    assert look.picture is not None and (look.picture.width, look.picture.height) == (33, 9)


def test_an_image_is_limited_before_it_is_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(TooLarge, match="the limit is 2000000"):
        read({**PLACE, "imageValue": picture("PNG", "1", (side, side))})
    with pytest.raises(TooLarge, match="a side"):
        read({**PLACE, "imageValue": picture("PNG", "1", (10_001, 1))})
    with pytest.raises(TooLarge, match="bytes, the limit is 1048576"):
        read({**PLACE, "imageValue": picture("PNG", "RGB", (700, 700), noise=True)})


def test_a_png_whose_rows_are_more_than_it_says_is_damaged() -> None:
    """A small header in front of much compressed data: it is not decompressed further than the header allows."""
    large, small = picture_bytes("PNG", "L", (1000, 1000)), picture_bytes("PNG", "L", (10, 10))
    header = small[8:33]
    with pytest.raises(VisibleSignatureImpossible, match="damaged"):
        read({**PLACE, "imageValue": base64.b64encode(large[:8] + header + large[33:]).decode()})


def test_the_different_images_of_a_request_are_limited_together() -> None:
    asked = [{**PLACE, "imageValue": picture("PNG", "L", (n, 1))} for n in range(1, 102)]
    with pytest.raises(TooLarge, match="100 different images"):
        read_json(request(*asked), SignatureDefaults())
    read_json(request(*asked[:100]), SignatureDefaults())


def test_other_formats_do_not_read_it() -> None:
    body = request({"locationType": "nowhere"}, kind="XAdES")
    (received,) = read_json(body, SignatureDefaults())
    assert received.description is not None
    assert received.description.visible and received.description.visible_signature is None


# --- the template of a client service ---------------------------------------------------------------------------------

SERVICE = VisibleTexts(one_off_template="House of $certificate.organization", area="width=90,height=40", font="size=8")


def test_a_service_customization_takes_what_the_configuration_says() -> None:
    defaults = VisibleDefaults(service=SERVICE)
    for asked in ({"templateType": "SERVICE_CUSTOMIZATION", "oneOffTemplate": "not this"}, {}):
        found = read({**PLACE, **asked, "areaBackgroundColor": "#102030"}, defaults)
        assert found.look.template == "House of $certificate.organization"
        assert (found.look.width, found.look.font_size, found.look.background) == (90, 8, 0x102030)
    assert read({**PLACE, "oneOffTemplate": "mine"}, defaults).look.template == "mine"
    assert read({**PLACE, "oneOffTemplate": "mine"}, defaults).look.width == 155


def test_a_service_may_say_the_place_too() -> None:
    service = VisibleTexts(location_type="COORDINATE", location_value="page=2,x=5,y=6")
    found = read({"templateType": "SERVICE_CUSTOMIZATION"}, VisibleDefaults(service=service))
    assert (found.place.page, found.place.x) == (2, 5)


# --- Velocity -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$certificate.getCommonName()", "CN"),
        ("${certificate.commonName}", "CN"),
        ("$!{certificate.getCommonName()}", "CN"),
        ("$certificate.issuer.commonName/$certificate.getIssuer().getCommonName()", "CA/CA"),
        (r"a\nb" + "\nc\r\nd", "a\nb\nc\nd"),
        (r"$5 and \$date, 100$", "$5 and $date, 100$"),
        ("$date.", "D."),
        ("$date.pdf", "D.pdf"),
        ("Invoice #12 # 3", "Invoice #12 # 3"),
        ("", ""),
    ],
)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    values = {"certificate.commonName": "CN", "certificate.issuerCommonName": "CA", "date": "D"}
    assert velocity.fill(template, values) == text


def test_what_is_filled_in_is_not_a_template() -> None:
    assert velocity.fill("$reason", {"reason": "$date #set($x) ${"}) == "$date #set($x) ${"


def test_every_name_can_be_written_as_it_is_listed() -> None:
    for name, written in velocity.NAMES.items():
        assert velocity.names(written) == {name} == velocity.names(f"${{{name}}}")


def test_a_name_that_is_not_known_lists_those_that_are() -> None:
    with pytest.raises(ApiError) as refusal:
        velocity.parse("$signature.image")
    assert all(written in refusal.value.cause for written in velocity.NAMES.values())
