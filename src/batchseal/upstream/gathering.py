"""Collects validation material: certificates, and the answers about them, of which each may bring a further certificate.

Owns the order and the limits. An authority decides who answers for it, and a responder may name another one in each answer; so
how far that is followed is bounded here. Leaves the answers to `revocation`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise

from cryptography import x509

from batchseal.document import Material
from batchseal.errors import MaterialImpossible
from batchseal.upstream.certification_path import der_of
from batchseal.upstream.places import places_of

# So many responders may answer for each other, each for the one before, and so many certificates are asked about for one
# gathering. In use is one responder, who answers for itself or says that nobody need ask, and two chains of four certificates.
MOST_RESPONDERS, MOST_CERTIFICATES = 4, 64


class Kind(IntEnum):
    """The values stand in the database."""

    OCSP = 1
    CRL = 2


@dataclass(frozen=True, slots=True)
class Status:
    """An answer that a certificate was not revoked. `responder` is the certificate (DER) of its signer, None for the issuer.

    `content` is empty for a list of `content_bytes` that is too large to be embedded.
    """

    kind: Kind
    content: bytes
    fetched_at: datetime
    until: datetime
    responder: bytes | None = None
    content_bytes: int = 0

    def is_half_over(self, now: datetime) -> bool:
        return now >= self.fetched_at + (self.until - self.fetched_at) / 2


# Gives the answer about a certificate, by its issuer.
FindStatus = Callable[[x509.Certificate, x509.Certificate], Awaitable[Status]]


class Gathering:
    """Material while it is collected. The keys are DER, in the order in which they came."""

    def __init__(self, status: FindStatus) -> None:
        self._status = status
        self._asked = set[bytes]()
        self._certificates: dict[bytes, None] = {}
        self._ocsp_responses: dict[bytes, None] = {}
        self._crls: dict[bytes, None] = {}

    async def add(self, path: Sequence[x509.Certificate]) -> None:
        """Adds what there is about a path to a root, the root included.

        Raises what `status` raises. Raises MaterialImpossible for a list that is too large, and where the limits are reached:
        that lies in how an authority answers and not in the moment, so another try would only ask as often again.
        """
        self._certificates |= dict.fromkeys(map(der_of, path))
        # Each with its issuer, and how many responders lead to it. The last one is next.
        left = [(*pair, 0) for pair in reversed(list(pairwise(path)))]
        while left:
            certificate, issuer, depth = left.pop()
            if (der := der_of(certificate)) in self._asked:
                continue
            if len(self._asked) == MOST_CERTIFICATES:
                raise MaterialImpossible(f"its material takes answers about more than {MOST_CERTIFICATES} certificates")
            self._asked.add(der)
            status = await self._status(certificate, issuer)
            if status.kind is Kind.CRL:
                if not status.content:
                    name = certificate.subject.rfc4514_string()
                    size = f"{status.content_bytes} bytes, more than --crl-embed-bytes"
                    raise MaterialImpossible(f"the CRL for {name} has {size}")
                self._crls[status.content] = None
                continue
            self._ocsp_responses[status.content] = None
            responder = status.responder
            if responder is None or responder in self._certificates:
                continue
            self._certificates[responder] = None
            further = x509.load_der_x509_certificate(responder)
            if not is_checked(further):
                continue
            if depth == MOST_RESPONDERS:
                name = issuer.subject.rfc4514_string()
                more = f"more than {MOST_RESPONDERS} OCSP responders, each of whom another one answers for"
                raise MaterialImpossible(f"{name} has {more}")
            left.append((further, issuer, depth + 1))  # who answers for an issuer was issued by it (RFC 6960 4.2.2.2)

    def found(self) -> Material:
        return Material(tuple(self._certificates), tuple(self._ocsp_responses), tuple(self._crls))


def is_checked(responder: x509.Certificate) -> bool:
    """Whether the status of a responder's certificate counts (RFC 6960 4.2.2.2.1).

    It does not where its issuer says that it need not be asked for, or where it names no place to ask.
    """
    places = places_of(responder)
    if not (places.ocsp or places.crls):
        return False
    try:
        responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except x509.ExtensionNotFound:
        return True
    return False
