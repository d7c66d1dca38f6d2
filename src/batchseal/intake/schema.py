"""The attributes of a sign request as callers write them, and their conversion into the types of `document.py`.

A null means the same as an absent attribute. Unknown keys are ignored. A value that is not allowed raises an ApiError that
names the attribute, such as `documents[3].documentRequest.name`. `reading.py` decodes these types and refuses wrong types.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from batchseal.document import Description
from batchseal.errors import InvalidRequest, TooLarge, ValueNotAllowed
from batchseal.operation import ContentType
from batchseal.signature import (
    Level,
    SignatureDefaults,
    SignatureOptions,
    SignatureType,
    VisibleTexts,
)
from batchseal.visible.parsing import KEYS, VisibleReader

# Generated multipart clients send this text, because the vendor's schema names the three types in one literal. The type is
# then found from the content.
ANY_CONTENT_TYPE = "application/pdf, text/xml, application/xml"
CONTENT_TYPES = {kind.media_type: kind for kind in ContentType if kind is not ContentType.OTHER}
# A type and a subtype (RFC 6838 4.2). CAdES signs documents of every type.
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+\-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+\-]{0,126}")
# The attribute of a visible signature that is an image in base64. It is not a text, and the scanner limits it.
IMAGE = "imageValue"

SIGNATURE_TYPES = {kind.label: kind for kind in SignatureType}


# The allowed values of `advancedSignatureInfo`, which is about XML alone.
ADVANCED = {
    "signatureLocation": None,
    "signatureTransform": ("ENVELOPED", "XPATH", "XPATH2_FILTER"),
    "canonicalTransform": ("EXCLUSIVE", "EXCLUSIVE_WITH_COMMENTS"),
}


class VisibleInfo(msgspec.Struct, rename="camel", kw_only=True):
    template_type: str | None = None
    one_off_template: str | None = None
    location_type: str | None = None
    location_value: str | None = None
    area: str | None = None
    area_background_color: str | None = None
    font: str | None = None
    image_type: str | None = None
    image_value: str | None = None


class SignatureInfo(msgspec.Struct, rename="camel", kw_only=True):
    signature_type: str | None = None
    reason: str | None = None
    location: str | None = None
    apply_timestamp: bool | None = None
    visible_signature_info: VisibleInfo | None = None
    advanced_signature_info: dict[str, Any] | None = None
    # These two are ours: the contract has no words for them.
    signature_level: str | None = None
    signature_packaging: str | None = None


class DocumentRequest(msgspec.Struct, rename="camel", kw_only=True):
    external_reference: str | None = None
    name: str | None = None
    content_type: str | None = None


class DocumentEntry(msgspec.Struct, rename="camel", kw_only=True):
    document_request: DocumentRequest | None = None
    signature_info: SignatureInfo | None = None


class Request(msgspec.Struct, rename="camel", kw_only=True):
    """The skeleton of a request: `documents` is the number of documents."""

    external_reference: str | None = None
    description: str | None = None
    documents: Annotated[int, msgspec.Meta(ge=0)] | None = None
    return_signed_content: bool | None = None
    preservation_info: dict[str, Any] | None = None


class MultipartRequest(Request, kw_only=True):
    """The part `signRequest` of a multipart request: `documents` describes the documents, their contents are other parts."""

    documents: list[DocumentEntry] | None = None  # type: ignore[assignment]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The largest counts and sizes that a request may have."""

    max_documents: int = 10_000
    max_document_bytes: int = 100 << 20
    max_reference_characters: int = 255
    max_name_characters: int = 255
    max_description_characters: int = 4000
    max_text_characters: int = 1000  # of every other text, except an image, which is content
    max_depth: int = 16


def required(value: str | None, place: str) -> str:
    """Returns `value`. Raises InvalidRequest if it is absent or empty; `place` names the attribute."""
    if value is None or value == "":
        raise InvalidRequest(f"{place} is missing")
    return value


def bounded(value: str, place: str, characters: int) -> str:
    """Returns `value`. Raises TooLarge if it has more than `characters` characters; `place` names the attribute."""
    if len(value) > characters:
        raise TooLarge(f"{place} has {len(value)} characters, the limit is {characters}")
    return value


def one_of(value: str, place: str, allowed: Sequence[str]) -> str:
    """Returns `value`. Raises ValueNotAllowed if it is not allowed; `place` names the attribute."""
    if value not in allowed:
        raise ValueNotAllowed(f"{place}: {value[:40]!r} is not one of {', '.join(allowed)}")
    return value


def bound_texts(value: Any, place: str, limits: Limits) -> None:
    """Raises TooLarge if a text in this part of a request is longer than its limit. The scanner has limited the depth."""
    if isinstance(value, str):
        bounded(value, place, limits.max_text_characters)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key != IMAGE:
                bound_texts(one, f"{place}.{key[:40]}", limits)
    elif isinstance(value, list):
        for position, one in enumerate(value):
            bound_texts(one, f"{place}[{position}]", limits)


def describe(
    entry: DocumentEntry,
    place: str,
    limits: Limits,
    sniffed: ContentType | None,
    defaults: SignatureDefaults,
    visible: VisibleReader,
) -> Description:
    """Checks the attributes of the document at `place` in the body, such as `documents[3]`.

    `sniffed` is the content type that its first bytes show, or None. `defaults` are those of the caller. `visible` reads what the
    documents of this request say of visible signatures. Raises ApiError that names the attribute.
    """
    if entry.document_request is None:
        raise InvalidRequest(f"{place}.documentRequest is missing")
    if entry.signature_info is None:
        raise InvalidRequest(f"{place}.signatureInfo is missing")
    request, info = entry.document_request, entry.signature_info
    at = f"{place}.documentRequest"
    reference = required(request.external_reference, f"{at}.externalReference")
    name = required(request.name, f"{at}.name")
    type_text = required(request.content_type, f"{at}.contentType")
    signature_type = required(info.signature_type, f"{place}.signatureInfo.signatureType")
    if signature_type not in SIGNATURE_TYPES:
        raise ValueNotAllowed(
            f"{place}.signatureInfo.signatureType: {signature_type[:40]!r} is not one of PAdES, XAdES, CAdES"
        )
    for key, value in (
        ("reason", info.reason),
        ("location", info.location),
        ("advancedSignatureInfo", info.advanced_signature_info),
    ):
        if value is not None:
            bound_texts(value, f"{place}.signatureInfo.{key}", limits)
    seen = _visible(info.visible_signature_info, f"{place}.signatureInfo.visibleSignatureInfo", limits)
    kind, options = SIGNATURE_TYPES[signature_type], defaults.options
    content_type, other_type = _content_type(
        type_text, f"{at}.contentType", sniffed, any_type=kind is SignatureType.CADES
    )
    if kind is SignatureType.XADES:
        options = _advanced(info.advanced_signature_info or {}, f"{place}.signatureInfo.advancedSignatureInfo", options)
    level = max(defaults.level, Level.T) if info.apply_timestamp is True else defaults.level
    if (asked := info.signature_level) is not None:
        at_least = one_of(asked, f"{place}.signatureInfo.signatureLevel", [level.name for level in Level])
        level = max(level, Level[at_least])
    if (asked := info.signature_packaging) is not None and kind is SignatureType.CADES:
        packaging = one_of(asked, f"{place}.signatureInfo.signaturePackaging", ["ATTACHED", "DETACHED"])
        options = replace(options, detached=packaging == "DETACHED")
    return Description(
        external_reference=bounded(reference, f"{at}.externalReference", limits.max_reference_characters),
        name=bounded(name, f"{at}.name", limits.max_name_characters),
        content_type=content_type,
        reason=info.reason or None,
        location=info.location or None,
        signature_type=kind,
        level=level,
        visible=seen is not None,
        options=options,
        other_type=other_type,
        # Other formats have nothing to draw on, and refuse the document for that.
        visible_signature=visible.read(seen, f"{place}.signatureInfo.visibleSignatureInfo")
        if seen is not None and kind is SignatureType.PADES
        else None,
        evidence_record=defaults.evidence_record,
    )


def _visible(info: VisibleInfo | None, place: str, limits: Limits) -> VisibleTexts | None:
    """The attributes of a visible signature. Raises TooLarge."""
    if info is None:
        return None
    texts = {name: value for name in KEYS.values() if (value := getattr(info, name)) is not None}
    for key, name in KEYS.items():
        if key != IMAGE:
            bounded(texts.get(name, ""), f"{place}.{key}", limits.max_text_characters)
    return VisibleTexts(**texts)


def _advanced(info: dict[str, Any], place: str, defaults: SignatureOptions) -> SignatureOptions:
    """`defaults` with what the caller says. Raises ValueNotAllowed."""
    texts: dict[str, str] = {}
    for name, allowed in ADVANCED.items():
        value = info.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise ValueNotAllowed(f"{place}.{name}: {str(value)[:40]!r} is not a text")
        texts[name] = one_of(value, f"{place}.{name}", allowed) if allowed else value
    return replace(
        defaults,
        location=texts.get("signatureLocation", defaults.location),
        transform=texts.get("signatureTransform", defaults.transform),
        canonical=texts.get("canonicalTransform", defaults.canonical),
    )


def _content_type(text: str, place: str, sniffed: ContentType | None, *, any_type: bool) -> tuple[ContentType, str]:
    """The content type that `text` names, and the media type where that is OTHER. Raises ValueNotAllowed.

    `place` names the attribute. `any_type`: every media type is allowed.
    """
    if text == ANY_CONTENT_TYPE:
        if sniffed is not None:
            return sniffed, ""
        if any_type:
            return ContentType.OTHER, ContentType.OTHER.media_type
        raise ValueNotAllowed(f"{place}: the content is neither PDF nor XML")
    # Parameters such as `; charset=utf-8` are not needed here.
    media_type = text.partition(";")[0].strip().lower()
    if (kind := CONTENT_TYPES.get(media_type)) is not None:
        return kind, ""
    if not any_type:
        raise ValueNotAllowed(f"{place}: {text[:80]!r} is not one of {', '.join(CONTENT_TYPES)}")
    if MEDIA_TYPE.fullmatch(media_type) is None:
        raise ValueNotAllowed(f"{place}: {text[:80]!r} is not a media type")
    return ContentType.OTHER, media_type


def sniff(content: memoryview) -> ContentType | None:
    """Finds PDF or XML by the first bytes of `content`; None for anything else.

    PDF readers accept `%PDF-` anywhere in the first 1,024 bytes (ISO 32000-2 7.5.2).
    """
    start = bytes(content[:1024])
    if b"%PDF-" in start:
        return ContentType.PDF
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return ContentType.APPLICATION_XML if text[:1] == b"<" else None
