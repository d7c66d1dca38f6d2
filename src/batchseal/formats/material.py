"""Validation material: what a verifier needs to judge certificates later, and who gives it.

`Materials` is implemented by who fetches it. Evidence and the database hold it encoded, as one value for all documents that
share it, so that it is never copied for each of them.
"""

import zlib
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from batchseal.document import Material


class Materials(Protocol):
    """Gives validation material. The first certificate of a chain is that of the signer or of the authority, in DER."""

    async def check(self, chain: Sequence[bytes]) -> None:
        """Returns if none of the certificates that lead from the first one of `chain` to a root was revoked.

        Raises as `material` does.
        """
        ...

    async def material(self, chains: Sequence[Sequence[bytes]]) -> Material:
        """Material for every certificate of these chains (leaf first), issuers and OCSP responders included.

        Raises MaterialUnavailable (tried again later), CertificateRevoked, MaterialImpossible (no address, CRL too large to
        embed: final).
        """
        ...


class StoredMaterial(msgspec.Struct, omit_defaults=True):
    """Material as it is stored. New fields have defaults.

    `deflated` has for each part, in the order of the fields, its zlib data, or nothing where that is not shorter.
    """

    certificates: list[bytes] = []
    ocsp_responses: list[bytes] = []
    crls: list[bytes] = []
    version: int = 1
    deflated: list[bytes] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredMaterial).decode


def encoded(material: Material, beside: Collection[bytes], *, deflates: bool = False) -> bytes:
    """The material as evidence holds it, without the certificates that the signature has already (`beside`).

    The parts are in an order of their own, so that the same material is the same bytes. `deflates`: as zlib data too. This is
    kept because another version of the library may make other bytes, and a time stamp over them would then not be right.
    """
    certificates = sorted(set(material.certificates).difference(beside))
    responses, crls = sorted(set(material.ocsp_responses)), sorted(set(material.crls))
    deflated = [_shorter(one) for one in (*certificates, *responses, *crls)] if deflates else []
    return _encode(StoredMaterial(certificates, responses, crls, deflated=deflated))


def _shorter(data: bytes) -> bytes:
    packed = zlib.compress(data, 9)
    return packed if len(packed) < len(data) else b""


@lru_cache(maxsize=16)
def decoded(stored: bytes) -> Material:
    """What `encoded` has made. Raises ValueError."""
    found = _decode(stored)
    return Material(tuple(found.certificates), tuple(found.ocsp_responses), tuple(found.crls))


def streams(stored: bytes) -> list[list[tuple[bytes, bool]]]:
    """Certificates, OCSP responses and CRLs of what `encoded` has made, each as bytes and whether they are zlib data.

    Raises ValueError.
    """
    found = _decode(stored)
    deflated = iter(found.deflated)
    kinds = found.certificates, found.ocsp_responses, found.crls
    return [[(packed, True) if (packed := next(deflated, b"")) else (one, False) for one in kind] for kind in kinds]
