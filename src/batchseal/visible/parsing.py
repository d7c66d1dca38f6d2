"""Reads the attributes of a visible signature: `VisibleTexts`, as they are written, become a `VisibleSignature`.

Everything that can be wrong without a document is found here: the syntax, colours, names in the template, and the image. A
mistake raises VisibleSignatureImpossible (2.2.1) that names the attribute.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace

from batchseal.errors import InvalidRequest, TooLarge, VisibleSignatureImpossible
from batchseal.signature import (
    LocationType,
    Picture,
    SignatureLook,
    SignaturePlace,
    VisibleDefaults,
    VisibleSignature,
    VisibleTexts,
)
from batchseal.visible import picture, velocity

# The attributes as callers write them, and the fields of VisibleTexts.
KEYS = {
    "templateType": "template_type",
    "oneOffTemplate": "one_off_template",
    "locationType": "location_type",
    "locationValue": "location_value",
    "area": "area",
    "areaBackgroundColor": "area_background_color",
    "font": "font",
    "imageType": "image_type",
    "imageValue": "image_value",
}
TEMPLATE_TYPES = ("ONE_OFF", "SERVICE_CUSTOMIZATION")
LOCATION_TYPES = tuple(kind.name for kind in LocationType)
IMAGE_TYPES = ("IMAGE_PNG", "IMAGE_JPG")

# ISO 32000-2 annex C: the longest side that a page may have, in points.
MOST_POINTS = 14_400
FONT_SIZES = (4.0, 144.0)
COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
NUMBER = re.compile(r"-?\d{1,6}(?:\.\d{1,6})?")
BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")

# Images of one request that differ, and their bytes: each is in memory while the request is received.
MOST_PICTURES, MOST_PICTURES_BYTES = 100, 8 << 20


class VisibleReader:
    """Reads the visible signatures of one request. What is the same in several documents is read once, and is one object."""

    def __init__(self, defaults: VisibleDefaults) -> None:
        self._defaults = defaults
        self._signatures: dict[VisibleTexts, VisibleSignature] = {}
        self._looks: dict[SignatureLook, SignatureLook] = {}
        self._pictures: dict[tuple[str, str], Picture] = {}

    def read(self, asked: VisibleTexts, place: str) -> VisibleSignature:
        """What the attributes at `place` in the body ask for. Raises ApiError that names the attribute."""
        found = self._signatures.get(asked)
        if found is None:
            found = self._signatures[asked] = self._read(asked, place)
        return found

    def _read(self, asked: VisibleTexts, place: str) -> VisibleSignature:
        one_of(asked.template_type, TEMPLATE_TYPES, f"{place}.templateType")
        is_customized = asked.template_type == "SERVICE_CUSTOMIZATION"
        service = self._defaults.service
        if is_customized and service is None:
            raise VisibleSignatureImpossible(
                f"{place}.templateType is SERVICE_CUSTOMIZATION, but the configuration has no visibleSignature for this client "
                "service"
            )
        if is_customized or (service is not None and not asked.template_type and not asked.one_off_template):
            assert service is not None
            asked = customized(asked, service)
        for text, name in ((asked.location_type, "locationType"), (asked.location_value, "locationValue")):
            if not text:
                raise InvalidRequest(f"{place}.{name} is missing")
        where = read_place(asked, place, self._defaults.pixels_per_point)
        look = self._look(asked, place)
        return VisibleSignature(where, self._looks.setdefault(look, look))

    def _look(self, asked: VisibleTexts, place: str) -> SignatureLook:
        if asked.template_type == "ONE_OFF" and not asked.one_off_template and not asked.image_value:
            raise InvalidRequest(f"{place}.oneOffTemplate is missing")
        look = read_look(asked, place, self._defaults)
        if not asked.image_value:
            one_of(asked.image_type, IMAGE_TYPES, f"{place}.imageType")
            return look
        key = asked.image_type, asked.image_value
        if key not in self._pictures:
            self._pictures[key] = read_picture(asked, place)
            self._bound_pictures(place)
        return replace(look, picture=self._pictures[key], picture_scale=1 / self._defaults.pixels_per_point)

    def _bound_pictures(self, place: str) -> None:
        total = sum(len(one.content) for one in self._pictures.values())
        if len(self._pictures) > MOST_PICTURES or total > MOST_PICTURES_BYTES:
            raise TooLarge(
                f"{place}.imageValue: a request may have {MOST_PICTURES} different images with {MOST_PICTURES_BYTES} bytes in all"
            )


def customized(asked: VisibleTexts, service: VisibleTexts) -> VisibleTexts:
    """What a request says over the template of its client service. The template's own text stands."""
    values = {name: getattr(asked, name) or getattr(service, name) for name in KEYS.values()}
    if asked.image_value:
        values["image_type"] = asked.image_type
    return VisibleTexts(**values | {"one_off_template": service.one_off_template, "template_type": ""})


def check_service(texts: VisibleTexts, defaults: VisibleDefaults, place: str) -> None:
    """Checks the template of a client service, which may leave everything out. Raises ApiError that names the attribute."""
    one_of(texts.template_type, TEMPLATE_TYPES, f"{place}.templateType")
    if texts.location_value and not texts.location_type:
        raise VisibleSignatureImpossible(f"{place}.locationValue stands without a locationType")
    one_of(texts.location_type, LOCATION_TYPES, f"{place}.locationType")
    if texts.location_value:
        read_place(texts, place, defaults.pixels_per_point)
    read_look(texts, place, defaults)
    one_of(texts.image_type, IMAGE_TYPES, f"{place}.imageType")
    if texts.image_value:
        read_picture(texts, place)


def one_of(value: str, allowed: tuple[str, ...], place: str) -> None:
    """An empty text is no value."""
    if value and value not in allowed:
        raise VisibleSignatureImpossible(f"{place}: {value[:40]!r} is not one of {', '.join(allowed)}")


def read_place(asked: VisibleTexts, place: str, pixels_per_point: float) -> SignaturePlace:
    one_of(asked.location_type, LOCATION_TYPES, f"{place}.locationType")
    kind = LocationType[asked.location_type]
    if kind is not LocationType.COORDINATE:
        says_nothing = not (asked.template_type or asked.one_off_template or asked.image_value)
        keeps_look = kind is LocationType.SIGN_FIELD and says_nothing
        return SignaturePlace(kind, name=asked.location_value, keeps_look=keeps_look)
    at = f"{place}.locationValue"
    values = pairs(asked.location_value, ("page", "x", "y"), at, example="page=1,x=140,y=35")
    if missing := [key for key in ("page", "x", "y") if key not in values]:
        raise VisibleSignatureImpossible(f"{at} has no {missing[0]}; it is written like page=1,x=140,y=35")
    page = number(values["page"], f"{at}: page", 1, 10_000_000)
    if not page.is_integer():
        raise VisibleSignatureImpossible(f"{at}: page is not a whole number from 1 on")
    x, y = (number(values[key], f"{at}: {key}", 0, MOST_POINTS * pixels_per_point) for key in ("x", "y"))
    return SignaturePlace(kind, int(page), x / pixels_per_point, y / pixels_per_point)


def read_look(asked: VisibleTexts, place: str, defaults: VisibleDefaults) -> SignatureLook:
    """All but the picture. A request that brings an image and no template is drawn without text."""
    template = asked.one_off_template or ("" if asked.image_value else defaults.template)
    try:
        velocity.parse(template)
    except VisibleSignatureImpossible as problem:
        raise VisibleSignatureImpossible(f"{place}.oneOffTemplate: {problem.cause}") from None
    at, scale = f"{place}.area", defaults.pixels_per_point
    area = pairs(asked.area or defaults.area, ("width", "height"), at, example="width=155,height=50")
    if len(area) < 2:
        raise VisibleSignatureImpossible(f"{at} needs a width and a height; it is written like width=155,height=50")
    width, height = (number(area[key], f"{at}: {key}", scale, MOST_POINTS * scale) for key in ("width", "height"))
    look = SignatureLook(template, width / scale, height / scale)
    if asked.font:
        look = _with_font(look, asked.font, f"{place}.font")
    background = asked.area_background_color
    if background and background != "transparent":
        look = replace(look, background=colour(background, f"{place}.areaBackgroundColor", "#RRGGBB or transparent"))
    return look


def _with_font(look: SignatureLook, text: str, at: str) -> SignatureLook:
    values = pairs(text, ("color", "size", "name"), at, example="color=#000000,size=11,name=arial")
    return replace(
        look,
        font_colour=colour(values["color"], f"{at}: color", "#RRGGBB") if "color" in values else look.font_colour,
        font_size=number(values["size"], f"{at}: size", *FONT_SIZES) if "size" in values else look.font_size,
        font_name=values.get("name", look.font_name),
    )


def read_picture(asked: VisibleTexts, place: str) -> Picture:
    one_of(asked.image_type, IMAGE_TYPES, f"{place}.imageType")
    at = f"{place}.imageValue"
    # MIME encoders break lines; whatever else is not of the alphabet is a mistake (RFC 4648 3.3).
    encoded = "".join(asked.image_value.split())
    if len(encoded) % 4 or BASE64.fullmatch(encoded) is None:
        raise VisibleSignatureImpossible(f"{at} is not base64")
    try:
        content = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise VisibleSignatureImpossible(f"{at} is not base64") from None
    return picture.read(content, asked.image_type, at)


# --- the syntax of the attributes -----------------------------------------------------------------------------------


def pairs(text: str, keys: tuple[str, ...], place: str, *, example: str) -> Mapping[str, str]:
    """`a=1,b=2` as a dictionary. Raises VisibleSignatureImpossible for keys that are not known or stand twice."""
    values: dict[str, str] = {}
    for pair in text.split(","):
        key, sign, value = (part.strip() for part in pair.partition("="))
        if not sign or not value:
            raise VisibleSignatureImpossible(f"{place}: {pair[:40]!r} is not a pair; it is written like {example}")
        if key not in keys:
            raise VisibleSignatureImpossible(f"{place}: {key[:40]!r} is not one of {', '.join(keys)}")
        if key in values:
            raise VisibleSignatureImpossible(f"{place}: {key} stands twice")
        values[key] = value
    return values


def number(text: str, place: str, least: float, most: float) -> float:
    if NUMBER.fullmatch(text) is None or not least <= float(text) <= most:
        raise VisibleSignatureImpossible(f"{place}={text[:40]} is not a number from {least:g} to {most:g}")
    return float(text)


def colour(text: str, place: str, allowed: str) -> int:
    found = COLOUR.fullmatch(text)
    if found is None:
        raise VisibleSignatureImpossible(f"{place}: {text[:40]!r} is not {allowed}")
    return int(found[1], 16)
