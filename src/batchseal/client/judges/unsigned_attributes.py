"""Finds in a CAdES signature what its levels rest on: time stamps and validation material (EN 319 122-1 5.3 and 5.5).

What each time stamp is about is recomputed. `levels` says what that means.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from asn1crypto import algos, core

from batchseal.client.judges.levels import Holdings
from batchseal.client.judges.tokens import (
    IMPRINTS,
    NOT_ABOUT_THIS,
    Token,
    certificates_in,
    members,
    read_token,
    revocations_in,
)

TIME_STAMP = "1.2.840.113549.1.9.16.2.14"
ARCHIVE_TIME_STAMP = "0.4.0.1733.2.4"  # version 3
HASH_INDEX = "0.4.0.19122.1.5"  # version 3
# The levels that these attributes are for, and what they are called in sentences. The last two are older forms.
KINDS = {
    TIME_STAMP: ("T", "time stamp"),
    ARCHIVE_TIME_STAMP: ("LTA", "archive time stamp"),
    "1.2.840.113549.1.9.16.2.27": ("LTA", "archive time stamp"),
    "1.2.840.113549.1.9.16.2.48": ("LTA", "archive time stamp"),
}
# The fields of SignerInfo that an archive time stamp is about, in their order.
SIGNER_FIELDS = ("version", "sid", "digest_algorithm", "signed_attrs", "signature_algorithm", "signature")


class HashIndex(core.Sequence):  # type: ignore[misc]
    """ATSHashIndexV3 (EN 319 122-1 5.5.2): the digests of what an archive time stamp is about beside the signer's part."""

    _fields = [  # noqa: RUF012
        ("algorithm", algos.DigestAlgorithm),
        ("certificates", core.SequenceOf, {"spec": core.OctetString}),
        ("revocations", core.SequenceOf, {"spec": core.OctetString}),
        ("attributes", core.SequenceOf, {"spec": core.OctetString}),
    ]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One value of an unsigned attribute. `digested` is what an index digests of it: the type and the value, in DER."""

    kind: str
    value: bytes
    digested: bytes


class Index:
    """The index of an archive time stamp. Raises ValueError for one that cannot be read."""

    def __init__(self, der: bytes) -> None:
        read = HashIndex.load(der, strict=True)
        self.der = der
        self._name = read["algorithm"]["algorithm"].native
        if self._name not in IMPRINTS:
            raise ValueError(f"its index has digests of the algorithm {self._name}")
        self._digests = {name: set(read[name].native) for name in ("certificates", "revocations", "attributes")}

    def covers(self, kind: str, der: bytes) -> bool:
        """Whether the value is one of those in the field `kind`."""
        return self._digest(der) in self._digests[kind]

    def misses(self, kind: str, there: list[bytes]) -> bool:
        """Whether the field `kind` has a digest of something that is not `there`."""
        return not self._digests[kind] <= set(map(self._digest, there))

    def _digest(self, der: bytes) -> bytes:
        return hashlib.new(self._name, der).digest()


class UnsignedAttributes:
    """What a CMS with one signer holds beside the signature. `data` is its SignedData, `content` the document."""

    def __init__(self, data: Any, content: bytes) -> None:
        self._data, self._content = data, content
        (self._signer,) = data["signer_infos"]
        self._certificates, self._revocations = members(data["certificates"]), members(data["crls"])
        self._attributes = [
            Attribute(one["type"].dotted, value.dump(), one["type"].dump() + value.dump())
            for one in members(self._signer["unsigned_attrs"])
            for value in one["values"]
        ]

    def read(self) -> Holdings:
        """What the signature holds. What of it cannot be read is broken."""
        stamps, archives = list[tuple[Token, Attribute]](), list[tuple[Token, Index]]()
        found = Holdings().found
        for one in self._attributes:
            if one.kind not in KINDS:
                continue
            level, name = KINDS[one.kind]
            try:
                if one.kind == TIME_STAMP:
                    stamps.append((self._time_stamp(one), one))
                elif one.kind == ARCHIVE_TIME_STAMP:
                    archives.append(self._archive_time_stamp(one))
                else:
                    found[level].lacking.append(f"the {name} is of an old form, which is not judged")
            except (LookupError, TypeError, ValueError, AttributeError) as problem:
                found[level].broken.append(f"the {name} is broken: {problem}")
        held = self._held(stamps, None)
        held.found = found
        archives.sort(key=lambda archive: archive[0].time)  # a SET OF has no order of its own
        held.archives = [token for token, _ in archives]
        if archives:
            held.archived = self._held(stamps, archives[-1][1])
        return held

    def _held(self, stamps: list[tuple[Token, Attribute]], index: Index | None) -> Holdings:
        """Everything, or what an index covers of it."""
        held = Holdings(claims_material=bool(self._revocations))
        held.stamps = [token for token, one in stamps if index is None or index.covers("attributes", one.digested)]
        held.certificates = certificates_in(
            one for one in self._certificates if index is None or index.covers("certificates", one.dump())
        )
        held.responses, held.lists = revocations_in(
            one for one in self._revocations if index is None or index.covers("revocations", one.dump())
        )
        return held

    def _time_stamp(self, one: Attribute) -> Token:
        token, signature = read_token(one.value), self._signer["signature"].native
        if not token.is_about(lambda name: hashlib.new(name, signature).digest()):
            raise ValueError(NOT_ABOUT_THIS)
        return token

    def _archive_time_stamp(self, one: Attribute) -> tuple[Token, Index]:
        token = read_token(one.value)
        (stamper,) = token.signed["signer_infos"]
        indexes = [
            value.dump()
            for attribute in members(stamper["unsigned_attrs"])
            if attribute["type"].dotted == HASH_INDEX
            for value in attribute["values"]
        ]
        if len(indexes) != 1:
            raise ValueError(f"it has {len(indexes)} indexes of version 3")
        index = Index(indexes[0])
        if not token.is_about(lambda name: hashlib.new(name, self._archived(name, index)).digest()):
            raise ValueError(NOT_ABOUT_THIS)
        others = [attribute.digested for attribute in self._attributes if attribute is not one]
        for kind, name, there in (
            ("certificates", "a certificate", [choice.dump() for choice in self._certificates]),
            ("revocations", "a CRL or an OCSP response", [choice.dump() for choice in self._revocations]),
            ("attributes", "an unsigned attribute", others),
        ):
            if index.misses(kind, there):
                raise ValueError(f"it covers {name} that is not there, or was changed")
        return token, index

    def _archived(self, digest_name: str, index: Index) -> bytes:
        """What an archive time stamp with this index is about (EN 319 122-1 5.5.3)."""
        content_type = self._data["encap_content_info"]["content_type"].dump()
        signer = (self._signer[name].dump() for name in SIGNER_FIELDS)
        return b"".join((content_type, hashlib.new(digest_name, self._content).digest(), *signer, index.der))
