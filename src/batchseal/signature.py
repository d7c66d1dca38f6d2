"""What can be asked of a signature: its type, its level, and what may be chosen beside them.

`document` hands these types on. They stand apart from it because the settings know them too: the supervisor reads the settings,
and has no use for the structures that documents are made of.
"""

from dataclasses import dataclass
from enum import IntEnum


class SignatureType(IntEnum):
    """The families of advanced electronic signatures: in PDF (PAdES), in XML (XAdES), in CMS (CAdES)."""

    PADES = 1
    XADES = 2
    CADES = 3

    @property
    def label(self) -> str:
        """The name as callers write it."""
        return {1: "PAdES", 2: "XAdES", 3: "CAdES"}[self]


class Level(IntEnum):
    """What is added to a signature (ETSI EN 319 142-1 6). Each level includes the ones before it."""

    B = 1  # nothing is added
    T = 2  # a time stamp over the signature value
    LT = 3  # the certificates and revocation data that are needed to validate it
    LTA = 4  # an archive time stamp over all of it


@dataclass(frozen=True, slots=True)
class SignaturePolicy:
    """The policy that a signature declares (EPES): its identifier, the digest of its document, and where that can be read."""

    identifier: str
    digest_algorithm: str
    digest: bytes
    url: str = ""


@dataclass(frozen=True, slots=True)
class SignatureOptions:
    """What may be chosen of a signature beside its type and level. An empty text stands for the default of the format.

    `location`, `transform` and `canonical` are the values of `signatureLocation`, `signatureTransform` and `canonicalTransform`.
    `covers_comments`: where comments belong to the canonical form, the signature covers them too. `role` is what the signer
    claims to be. `detached`: the signature is a file of its own.
    """

    location: str = ""
    transform: str = ""
    canonical: str = ""
    covers_comments: bool = False
    policy: SignaturePolicy | None = None
    role: str = ""
    detached: bool = False


class LocationType(IntEnum):
    """How a caller says where a visible signature stands. The numbers are stored, so they never change."""

    COORDINATE = 1  # a page and the lower left corner of the area on it
    SIGN_FIELD = 2  # an existing unsigned field, by its full name
    PLACEHOLDER = 3  # a word of the document: its lower left corner is the upper left one of the area


@dataclass(frozen=True, slots=True)
class SignaturePlace:
    """Where a visible signature stands.

    `page` counts from 1; `x` and `y` are points of 1/72 inch from the lower left corner of the page as it is shown. They hold for
    COORDINATE, and for a word that was found. `name` is the name of the field, or the word. `keeps_look`: the caller says
    nothing of how the signature looks, so a field that has an appearance keeps it. `in_user_space`: the word was found; `x`
    and `y` are its lower left corner in the page's own coordinates, and the upper left one of the area. `missing`: why it was
    not found.
    """

    kind: LocationType
    page: int = 0
    x: float = 0.0
    y: float = 0.0
    name: str = ""
    keeps_look: bool = False
    in_user_space: bool = False
    missing: str = ""

    @property
    def is_sought(self) -> bool:
        """Whether the word of this place has to be looked for in the document."""
        return self.kind is LocationType.PLACEHOLDER and not self.in_user_space and not self.missing


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it came, in the format PNG or JPEG; its size is in pixels."""

    content: bytes
    is_jpeg: bool
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SignatureLook:
    """How a visible signature is drawn. Lengths are in points, colours are 0xRRGGBB.

    `template` has the spelling of Velocity (`visible/velocity.py`) and is known to have no other names than those that exist. A
    `background` of None is transparent. `picture_scale` is how many points a pixel of the picture takes.
    """

    template: str
    width: float
    height: float
    font_name: str = "arial"
    font_size: float = 11.0
    font_colour: int = 0
    background: int | None = None
    picture: Picture | None = None
    picture_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class VisibleSignature:
    """What a caller wants to be seen of a signature. Many documents share one `look`."""

    place: SignaturePlace
    look: SignatureLook


@dataclass(frozen=True, slots=True)
class VisibleTexts:
    """The attributes of a visible signature as they are written, in a request or for a client service. An empty text is none."""

    template_type: str = ""
    one_off_template: str = ""
    location_type: str = ""
    location_value: str = ""
    area: str = ""
    area_background_color: str = ""
    font: str = ""
    image_type: str = ""
    image_value: str = ""


@dataclass(frozen=True, slots=True)
class VisibleDefaults:
    """What holds where a request says nothing of a visible signature.

    `service` is the template of the client service (SERVICE_CUSTOMIZATION), or None where it has none. `pixels_per_point` is how
    many pixels of an area, a coordinate or an image make a point.
    """

    area: str = "width=155,height=50"
    template: str = r"Digitally signed by $certificate.getCommonName()\n$date"
    pixels_per_point: float = 1.0
    service: VisibleTexts | None = None


@dataclass(frozen=True, slots=True)
class SignatureDefaults:
    """What the configuration says of the signatures of a client service. `level` is the lowest one that its documents get.

    `evidence_record`: each of its operations gets an evidence record.
    """

    level: Level = Level.B
    options: SignatureOptions = SignatureOptions()
    visible: VisibleDefaults = VisibleDefaults()
    evidence_record: bool = False


NO_DEFAULTS = SignatureDefaults()
