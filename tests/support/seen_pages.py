"""Pages for visible signatures: every way in which a page says what is shown of it, plain or as PDF/A, and what signs them.

The pages are not square and have a mark in each corner, so that a picture tells which way they were turned.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from harness.validators.local_signer import local_signer
from harness.validators.samples import Objects, with_table

from batchseal.document import Credential, Description, Evidence, Prepared, Refusal, Stretch
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType
from batchseal.signature import LocationType, SignatureLook, SignaturePlace, VisibleSignature

# The media box, and a crop box whose corner is not its corner.
WIDTH, HEIGHT = 260, 180
CROP = (20, 30, 240, 170)
ID = b"/ID[<000102030405060708090a0b0c0d0e0f><000102030405060708090a0b0c0d0e0f>]"
SIGNING_TIME = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
# Colours without a profile would be no PDF/A, so the marks are there in RGB, and the profile is that of RGB.
MARKS = b"""1 0 0 rg 22 32 12 6 re f
0 0.6 0 rg 222 32 12 6 re f
0 0 1 rg 22 160 12 6 re f
0.5 0.5 0.5 rg 222 160 12 6 re f
0.8 0.8 0.2 rg 100 90 40 20 re f"""


@dataclass(frozen=True, slots=True)
class Page:
    """How a page is shown. `profile`: empty, or the part and level of PDF/A, such as 1b. `colours` are those of its profile."""

    rotation: int = 0
    crops: bool = False
    unit: float = 1.0
    inherits: bool = False
    profile: str = ""
    colours: int = 3

    @property
    def box(self) -> tuple[float, float, float, float]:
        """What is shown, in user space."""
        return CROP if self.crops else (0, 0, WIDTH, HEIGHT)

    @property
    def shown(self) -> tuple[float, float]:
        """Width and height as it is shown, in points."""
        left, bottom, right, top = self.box
        sides = (right - left) * self.unit, (top - bottom) * self.unit
        return sides if self.rotation % 180 == 0 else sides[::-1]


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (more, len(data), data)


def xmp(part: str, level: str) -> bytes:
    return b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<pdfaid:part>%s</pdfaid:part><pdfaid:conformance>%s</pdfaid:conformance></rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""" % (part.encode(), level.encode())


@cache
def icc_profile(colours: int = 3) -> bytes:
    """A small profile of version 2 for RGB or gray monitors (ICC.1:2001-04)."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(*values)

    name = b"A profile for tests\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(4 + 4 + 2 + 1 + 67),
        b"cprt": b"text\0\0\0\0public domain\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
    }
    if colours == 3:
        tags |= {
            b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
            b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
            b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        }
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    else:
        tags[b"kTRC"] = curve
    body, table, at = b"", struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"RGB " if colours == 3 else b"GRAY"
    head = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + body


def pdf(page: Page, *, pages: int = 1, extra: Objects | None = None, catalog: bytes = b"") -> bytes:
    """A document whose last page is this one; the pages before it are shown as they are."""
    shown = b"/MediaBox[0 0 %d %d]" % (WIDTH, HEIGHT)
    if page.crops:
        shown += b"/CropBox[%d %d %d %d]" % CROP
    if page.rotation:
        shown += b"/Rotate %d" % page.rotation
    own = b"/UserUnit %g" % page.unit if page.unit != 1 else b""
    kids = b" ".join(b"%d 0 R" % (20 + n) for n in range(pages - 1))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R" + catalog,
        2: b"<</Type/Pages/Count %d/Kids[%s 3 0 R]>>" % (pages, kids),
        3: b"<</Type/Pages/Parent 2 0 R/Count 1/Kids[4 0 R]%s>>" % (shown if page.inherits else b""),
        4: b"<</Type/Page/Parent 3 0 R/Contents 5 0 R/Resources<<>>%s%s>>" % (b"" if page.inherits else shown, own),
        5: stream(MARKS),
        **{20 + n: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Resources<<>>>>" for n in range(pages - 1)},
        **(extra or {}),
    }
    if page.profile:
        objects[1] += b"/Metadata 6 0 R/OutputIntents[<</Type/OutputIntent/S/GTS_PDFA1/OutputConditionIdentifier(tests)"
        objects[1] += b"/DestOutputProfile 7 0 R>>]"
        objects[6] = stream(xmp(page.profile[0], page.profile[1:].upper()), b"/Type/Metadata/Subtype/XML")
        objects[7] = stream(icc_profile(page.colours), b"/N %d" % page.colours)
    objects[1] += b">>"
    if page.colours == 1:
        objects[5] = stream(b"0.5 g 22 32 12 6 re f")
    header = b"%PDF-1.4\n" if page.profile.startswith("1") else b"%PDF-1.7\n"
    return with_table(objects, original=header + b"%\xe2\xe3\xcf\xd3\n", trailer=ID)


# --- signing ------------------------------------------------------------------------------------------------------------


@cache
def credential() -> Credential:
    leaf = local_signer().certificate.dump()
    return Credential("test", (leaf,), "rsa", 256, "sha256", hashlib.sha256(leaf).digest())


def seen(look: SignatureLook, page: int = 1, x: float = 10, y: float = 15) -> VisibleSignature:
    return VisibleSignature(SignaturePlace(LocationType.COORDINATE, page, x, y), look)


def description(visible: VisibleSignature, reason: str | None = None, location: str | None = None) -> Description:
    return Description("r", "a.pdf", ContentType.PDF, reason, location, visible=True, visible_signature=visible)


def prepare(originals: Sequence[bytes], wanted: Sequence[Description]) -> list[Prepared | Refusal]:
    batch = [(n, one, original) for n, (original, one) in enumerate(zip(originals, wanted, strict=True))]
    return Pades().prepare(batch, credential(), SIGNING_TIME)


def evidence(prepared: Prepared) -> Evidence:
    """The signature value, by the key of `local_signer`."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, utils

    return Evidence(local_signer().key.sign(prepared.digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())))


def signed(original: bytes, prepared: Prepared) -> bytes:
    """The signed file."""
    document = Pades().package(original, prepared, evidence(prepared), credential())
    content = b"".join(bytes(part) for part in document.segments if not isinstance(part, Stretch))
    assert len(content) == document.total_bytes == len(original) + prepared.additional_bytes
    return content


def sign(original: bytes, wanted: Description) -> bytes:
    (prepared,) = prepare([original], [wanted])
    assert isinstance(prepared, Prepared), prepared
    return signed(original, prepared)


def refused(original: bytes, wanted: Description) -> Refusal:
    (refusal,) = prepare([original], [wanted])
    assert isinstance(refusal, Refusal), refusal
    return refusal
