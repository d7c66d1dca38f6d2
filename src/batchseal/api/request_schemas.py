"""The sign request as types, for the OpenAPI document only.

Requests are never decoded into these types: `intake/` scans a body while it arrives.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType


class Struct(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Base of the request types. A null means the same as an absent attribute."""


class VisibleSignatureInfo(Struct):
    """Where and how a visible signature is drawn, in PDF alone. A pixel is a point of 1/72 inch, if nothing else is set.

    `locationValue` is `page=1,x=140,y=35` for COORDINATE: the lower left corner of the area, from that of the page as shown. For
    SIGN_FIELD it is the full name of an unsigned signature field, in whose rectangle the signature is drawn; if a request has
    neither `templateType` nor `oneOffTemplate` nor an image, a field that has an appearance keeps it. For PLACEHOLDER it is a
    word of the document: the lower left corner of its first occurrence is the upper left one of the area.
    `oneOffTemplate` is a text with names in the spelling of Velocity, such as `Digitally signed by
    $certificate.getCommonName()`; a line ends at a line break or at `\\n`. Names are `$certificate.getCommonName()`,
    `getOrganization()`, `getSerialNumber()`, `getIssuerCommonName()`, `getNotBefore()`, `getNotAfter()`, `$date`, `$reason` and
    `$location`. SERVICE_CUSTOMIZATION takes the text, and all that the request leaves out, from the configuration. `area` is
    `width=155,height=50`, `areaBackgroundColor` is `#RRGGBB` or `transparent`, `font` is `color=#000000,size=11,name=arial`. An
    image has one point a pixel and must not be larger than the area. A mistake here ends the request with 2.2.1.
    """

    location_type: Literal["SIGN_FIELD", "COORDINATE", "PLACEHOLDER"]
    location_value: str
    template_type: Literal["ONE_OFF", "SERVICE_CUSTOMIZATION"] | None = None
    one_off_template: str | None = None
    area: str | None = None
    area_background_color: str | None = None
    font: str | None = None
    image_type: Literal["IMAGE_PNG", "IMAGE_JPG"] | None = None
    image_value: str | None = None


class AdvancedSignatureInfo(Struct):
    """Options for signatures in XML. They are ignored for other documents.

    `signatureLocation` names the parent of the signature: nothing (the root element), a name with or without prefix, or a path of
    steps from the root such as `/Invoice/ext:UBLExtensions/ext:UBLExtension[1]/ext:ExtensionContent`. Exactly one element must
    match. The transform is ENVELOPED and the canonical form EXCLUSIVE where nothing is said.
    """

    signature_location: str | None = None
    signature_transform: Literal["ENVELOPED", "XPATH", "XPATH2_FILTER"] | None = None
    canonical_transform: Literal["EXCLUSIVE", "EXCLUSIVE_WITH_COMMENTS"] | None = None


class SignatureInfo(Struct):
    """PAdES signs PDF, XAdES signs XML, and CAdES signs documents of every media type.

    `location` becomes the place of the signature. `reason` is for PDF alone. `applyTimestamp` asks for level T at least.
    `signatureLevel` and `signaturePackaging` (CAdES: the document in the file with the signature, or not) are extensions of
    this service; the configuration of the client service says what holds without them. A level is reached or the document fails.
    """

    signature_type: Literal["PAdES", "XAdES", "CAdES"]
    reason: Annotated[str, Meta(max_length=1000)] | None = None
    location: Annotated[str, Meta(max_length=1000)] | None = None
    apply_timestamp: bool | None = None
    visible_signature_info: VisibleSignatureInfo | None = None
    advanced_signature_info: AdvancedSignatureInfo | None = None
    signature_level: Literal["B", "T", "LT", "LTA"] | None = None
    signature_packaging: Literal["ATTACHED", "DETACHED"] | None = None


class DocumentRequest(Struct):
    """One document. `base64Content` is mandatory in a JSON request and ignored in a multipart request.

    CAdES takes every media type as `contentType`.
    """

    external_reference: Annotated[str, Meta(min_length=1, max_length=255)]
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    content_type: Annotated[str, Meta(examples=["application/pdf", "text/xml", "application/xml"])]
    base64_content: str | UnsetType = msgspec.field(default=UNSET, name="base64Content")


class RequestedDocument(Struct):
    document_request: DocumentRequest
    signature_info: SignatureInfo


class PersonReceiver(Struct):
    email: str | None = None
    delivery_status: str | None = None


class DeliveryInfo(Struct):
    attach_documents: bool | None = None
    person_receiver: list[PersonReceiver] | None = None


class PreservationInfo(Struct):
    """Accepted for compatibility and ignored: documents never leave the premises."""

    preserve_content: bool | None = None
    alias: str | None = None
    delivery_info: DeliveryInfo | None = None


class SignRequest(Struct):
    """One batch. Its `externalReference` must be unique per client service; those of its documents may repeat."""

    external_reference: Annotated[str, Meta(min_length=1, max_length=255)]
    description: Annotated[str, Meta(max_length=4000)]
    documents: Annotated[list[RequestedDocument], Meta(min_length=1, max_length=10_000)]
    preservation_info: PreservationInfo | None = None
    return_signed_content: bool | None = None
