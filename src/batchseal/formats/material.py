"""Validation material: what a verifier needs to judge certificates later, and who gives it.

`Materials` is implemented by who fetches it. Evidence and the database hold it encoded, as one value for all documents that
share it, so that it is never copied for each of them.
"""

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
    """Material as it is stored. New fields have defaults."""

    certificates: list[bytes] = []
    ocsp_responses: list[bytes] = []
    crls: list[bytes] = []
    version: int = 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredMaterial).decode


def encoded(material: Material, beside: Collection[bytes]) -> bytes:
    """The material as evidence holds it, without the certificates that the signature has already (`beside`).

    The parts are in an order of their own, so that the same material is the same bytes.
    """
    return _encode(
        StoredMaterial(
            sorted(set(material.certificates).difference(beside)),
            sorted(set(material.ocsp_responses)),
            sorted(set(material.crls)),
        )
    )


@lru_cache(maxsize=16)
def decoded(stored: bytes) -> Material:
    """What `encoded` has made. Raises ValueError."""
    found = _decode(stored)
    return Material(tuple(found.certificates), tuple(found.ocsp_responses), tuple(found.crls))
