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


@dataclass(frozen=True, slots=True)
class SignatureDefaults:
    """What the configuration says of the signatures of a client service. `level` is the lowest one that its documents get.

    `evidence_record`: each of its operations gets an evidence record.
    """

    level: Level = Level.B
    options: SignatureOptions = SignatureOptions()
    evidence_record: bool = False


NO_DEFAULTS = SignatureDefaults()
