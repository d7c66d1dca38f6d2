"""Joins a certificate to a trusted root (RFC 5280 6), where need be with certificates that its issuers publish.

A path is built from the certificates that came with it. If one is missing, the certificate of the signer says where its issuer's
certificate is published. Nobody is asked about the status of a certificate that leads to no root.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from batchseal.errors import ConfigurationError, MaterialImpossible, MaterialUnavailable
from batchseal.upstream.inquiry import Inquiry
from batchseal.upstream.places import places_of
from batchseal.upstream.trust import Roots

# The longest path whose missing certificates are looked for, and the largest file with certificates.
MOST_FETCHED, MAX_FILE_BYTES = 4, 256 << 10
# So many paths are remembered. A signer and its time stamp authority need two.
KEPT_PATHS = 256

log = structlog.get_logger("upstream")


class CertificationPaths:
    """The paths to the roots of `roots`, of which any will do."""

    def __init__(self, roots: Callable[[], Sequence[Roots]], inquiry: Inquiry) -> None:
        self._load_roots = roots
        self._roots: Sequence[Roots] | None = None
        self._inquiry = inquiry
        self._known: dict[tuple[bytes, ...], list[x509.Certificate]] = {}

    async def of(self, chain: Sequence[bytes]) -> list[x509.Certificate]:
        """The certificates from the first one of `chain` (DER) to a root, both included.

        Raises MaterialImpossible if they lead to none, MaterialUnavailable if a certificate in between cannot be had now.
        """
        key, now = tuple(chain), datetime.now(UTC)
        known = self._known.get(key)
        if known is not None and all(one.not_valid_after_utc > now for one in known):
            return known
        signer, *others = [x509.load_der_x509_certificate(der) for der in chain]
        path = await self._join(signer, others, now)
        if path is None:
            path = await self._join(signer, await self._with_published(signer, others), now)
        if path is None:
            name = signer.subject.rfc4514_string()
            raise MaterialImpossible(f"{name} leads to no trusted root (--signer-roots, --timestamp-roots)")
        if len(self._known) >= KEPT_PATHS:
            self._known.clear()
        self._known[key] = path
        return path

    async def _join(
        self, signer: x509.Certificate, others: Sequence[x509.Certificate], moment: datetime
    ) -> list[x509.Certificate] | None:
        def find() -> list[x509.Certificate] | None:
            try:
                if self._roots is None:
                    self._roots = self._load_roots()
            except ConfigurationError as problem:
                raise MaterialImpossible(problem.cause) from None
            return next((path for roots in self._roots if (path := roots.path(signer, others, moment))), None)

        return await asyncio.to_thread(find)

    async def _with_published(
        self, signer: x509.Certificate, others: Sequence[x509.Certificate]
    ) -> list[x509.Certificate]:
        """`others`, and the certificates that lead on from the last one whose issuer is missing."""
        found = list(others)
        for _ in range(MOST_FETCHED):
            published = await self._published(last_before_gap(signer, found))
            if not published:
                return found
            found += published
        return found

    async def _published(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """What is published as the certificate of its issuer, if it is that. Raises MaterialUnavailable if nobody answers."""
        problems = []
        for address in places_of(certificate).issuers:
            try:
                data = await self._inquiry.file(address, MAX_FILE_BYTES)
            except MaterialUnavailable as problem:
                problems.append(problem.cause)
                continue
            if issuers := [one for one in read_certificates(data) if is_issuer(one, certificate)]:
                return issuers
            log.info("an address holds no certificate of the issuer", address=address)
        if problems:
            raise MaterialUnavailable("; ".join(problems))
        return []


def last_before_gap(signer: x509.Certificate, others: Sequence[x509.Certificate]) -> x509.Certificate:
    """The last certificate that is reached from `signer`, by the issuers among `others`."""
    last, left = signer, list(others)
    while issuer := next((one for one in left if is_issuer(one, last)), None):
        left.remove(issuer)  # two certificates may have issued each other
        last = issuer
    return last


def is_issuer(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether `issuer` has issued `certificate`: by its name and by the signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # the library has errors of several classes for keys and signatures that it cannot use
        return False
    return True


def certificates_in_cms(data: bytes) -> list[x509.Certificate]:
    """The certificates in CMS (DER). What reads them brings the package `email`, so it is loaded with the first such file."""
    from cryptography.hazmat.primitives.serialization import pkcs7

    return pkcs7.load_der_pkcs7_certificates(data)


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """The certificates in a file: one in DER or PEM, or several in CMS (RFC 5280 4.2.2.1). None where it cannot be read."""
    readers: tuple[Callable[[bytes], Sequence[x509.Certificate]], ...] = (
        lambda data: [x509.load_der_x509_certificate(data)],
        certificates_in_cms,
        x509.load_pem_x509_certificates,
    )
    for read in readers:
        try:
            return list(read(data))
        except Exception:  # whatever is wrong with it, it is not of this form
            continue
    return []


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
