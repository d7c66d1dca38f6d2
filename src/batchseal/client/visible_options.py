"""The options of `batchseal sign` for signatures that are seen on a page, and the request's attributes that they become.

Their values are written as in a request; the service judges them, and names the attribute that it does not take.
"""

from argparse import ArgumentParser, Namespace
from base64 import b64encode
from pathlib import Path

from batchseal.errors import ConfigurationError

# The place of a signature: each option, the `locationType` that it stands for, and what --help says.
PLACES = (
    ("--visible-at", "COORDINATE", "page=1,x=140,y=35", "show it there: page, and lower left corner in pixels"),
    ("--visible-field", "SIGN_FIELD", "NAME", "show it in this signature field, which each document must have"),
    ("--visible-word", "PLACEHOLDER", "WORD", "show it at the first place of this word, which each document must have"),
)
# How a signature looks: each option, the attribute, and what --help says.
LOOKS = (
    (
        "--visible-text",
        "oneOffTemplate",
        "TEXT",
        "its text; \\n breaks a line; names such as $certificate.commonName, $date, $reason and $location are filled in",
    ),
    (
        "--visible-area",
        "area",
        "width=155,height=50",
        "its size in pixels (1 pixel is 1 point, unless the service differs)",
    ),
    ("--visible-background", "areaBackgroundColor", "#RRGGBB", "the colour behind it, or transparent"),
    ("--visible-font", "font", "color=#000000,size=11,name=arial", "its font: arial, times or courier"),
)
DESCRIPTION = """
PDF files can have signatures that are seen. One of the first four options makes them so. What the others leave out is taken
from the template of the client service, or from the service's defaults. Files of other types are signed as without them."""


def add_visible_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("signatures that are seen", DESCRIPTION)
    place = group.add_mutually_exclusive_group()
    place.add_argument("--visible", action="store_true", help="show it where the template of the client service says")
    for flag, _, example, text in PLACES:
        place.add_argument(flag, default="", metavar=example, help=text)
    for flag, _, example, text in LOOKS:
        group.add_argument(flag, default="", metavar=example, help=text)
    group.add_argument(
        "--visible-image", type=Path, metavar="FILE", help="a PNG or JPEG image that is drawn in it (at most 1 MB)"
    )


def visible_info(options: Namespace) -> dict[str, str] | None:
    """`visibleSignatureInfo` of a request; None where no visible signature is asked for. Raises ConfigurationError."""
    info = {key: text for flag, key, *_ in LOOKS if (text := value_of(options, flag))}
    if "oneOffTemplate" in info:
        info["templateType"] = "ONE_OFF"
    if options.visible_image is not None:
        info["imageValue"] = b64encode(read_image(options.visible_image)).decode()
    for flag, kind, *_ in PLACES:
        if text := value_of(options, flag):
            return info | {"locationType": kind, "locationValue": text}
    if options.visible:
        return info
    if info:
        places = ", ".join(flag for flag, *_ in PLACES)
        raise ConfigurationError(f"the place of the visible signature is missing ({places}, or --visible)")
    return None


def value_of(options: Namespace, flag: str) -> str:
    return str(getattr(options, flag.removeprefix("--").replace("-", "_")))


def read_image(path: Path) -> bytes:
    """Raises ConfigurationError."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigurationError(f"--visible-image: {problem}") from None
