"""Finds, by verifying, which signature belongs to which digest.

Real servers return signatures in another order, drop some, or encode them differently. So the order of an answer is only a hint.
Promises that every signature from `match` was verified for its digest, and has the form that CMS needs. Leaves it to `lane` to
try digests without a signature again.
"""

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from batchseal.upstream.interface import RemoteKey

DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
# An ECDSA or PSS signature does not reveal its digest. So n signatures in an unknown order take n²/2 verifications of 50 µs.
MAX_SEARCH = 40_000  # verifications for one answer
HINT_MISSES = 4  # an order is given up after so many failures in a row


def match(key: RemoteKey, digests: Sequence[bytes], signatures: Sequence[bytes]) -> list[bytes | None]:
    """For each digest its verified signature in the form that CMS needs, or None. CPU-bound: call it in a thread."""
    if isinstance(key.public_key, rsa.RSAPublicKey) and key.credential.scheme == "pss":
        return _PssMatch(key.public_key, DIGESTS[key.credential.digest_algorithm], digests).run(signatures)
    if isinstance(key.public_key, rsa.RSAPublicKey):
        return _match_rsa(key.public_key, DIGESTS[key.credential.digest_algorithm], digests, signatures)
    assert isinstance(key.public_key, ec.EllipticCurvePublicKey)
    return _EcMatch(key.public_key, DIGESTS[key.credential.digest_algorithm], digests).run(signatures)


def verify_answer(
    public_key: object, signature: bytes, data: bytes, digest: hashes.HashAlgorithm, *, pss: bool
) -> None:
    """Verifies what an authority or a responder has signed: the signature over `data`, not over a digest.

    Raises InvalidSignature, and TypeError for a key that is neither RSA nor EC.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, data, ec.ECDSA(digest))
    elif isinstance(public_key, rsa.RSAPublicKey) and pss:
        public_key.verify(signature, data, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
    elif isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(signature, data, padding.PKCS1v15(), digest)
    else:
        raise TypeError("the key is neither RSA nor EC")


def _match_rsa(
    key: rsa.RSAPublicKey, digest: hashes.HashAlgorithm, digests: Sequence[bytes], signatures: Sequence[bytes]
) -> list[bytes | None]:
    """A PKCS #1 v1.5 signature contains its digest (RFC 8017 8.2.2), so that the order of the signatures does not matter."""
    scheme, size = padding.PKCS1v15(), (key.key_size + 7) // 8
    found: dict[bytes, bytes] = {}
    for signature in signatures:
        if 0 < len(signature) <= size:
            value = signature.rjust(size, b"\0")  # some servers drop leading zeros, which RFC 8017 4.1 demands
            try:
                found[key.recover_data_from_signature(value, scheme, digest)] = value
            except InvalidSignature:
                continue
    return [found.get(wanted) for wanted in digests]


class _Search(ABC):
    """Tries the order of the answer, then the other orders that real servers are known to use, then a limited search."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        self.digests = digests
        self.values: list[bytes | None] = [None] * len(digests)
        self.searched = 0

    @abstractmethod
    def forms(self, signature: bytes) -> list[bytes]:
        """Every meaning that the bytes of a signature can have, in the form that CMS needs."""

    @abstractmethod
    def check(self, form: bytes, digest: bytes) -> None:
        """Raises InvalidSignature if `form` is no signature of `digest`."""

    def run(self, signatures: Sequence[bytes]) -> list[bytes | None]:
        forms = [self.forms(signature) for signature in signatures]
        unused = list(range(len(signatures)))
        for order in self.likely_orders():
            unused = self.try_order(order, forms, unused)
            if None not in self.values or not unused:
                return self.values
        for number in unused:
            for position, value in enumerate(self.values):
                if value is None and self.searched < MAX_SEARCH and self.verify(position, forms[number]):
                    break
        return self.values

    def likely_orders(self) -> Iterator[list[int]]:
        """For each likely order, the positions of the digests to which the signatures belong."""
        straight = list(range(len(self.digests)))
        yield straight
        yield sorted(straight, key=lambda position: self.digests[position])
        yield sorted(straight, key=lambda position: base64.b64encode(self.digests[position]))
        yield straight[::-1]

    def try_order(self, order: list[int], forms: list[list[bytes]], unused: list[int]) -> list[int]:
        """Tries one order, until HINT_MISSES failures in a row. Returns the numbers of the signatures that are still unused."""
        left, misses = [], 0
        for number in unused:
            position = order[number] if number < len(order) else None
            free = position is not None and self.values[position] is None
            if free and misses < HINT_MISSES and position is not None:
                if self.verify(position, forms[number]):
                    misses = 0
                    continue
                misses += 1
            left.append(number)
        return left

    def verify(self, position: int, forms: list[bytes]) -> bool:
        """Whether one of the forms is a signature of the digest at `position`; it is noted if so."""
        for form in forms:
            self.searched += 1
            try:
                self.check(form, self.digests[position])
            except InvalidSignature:
                continue
            self.values[position] = form
            return True
        return False


class _EcMatch(_Search):
    def __init__(self, key: ec.EllipticCurvePublicKey, digest: hashes.HashAlgorithm, digests: Sequence[bytes]) -> None:
        super().__init__(digests)
        self.key, self.algorithm = key, ec.ECDSA(Prehashed(digest))

    def forms(self, signature: bytes) -> list[bytes]:
        return der_forms(signature, self.key.key_size)

    def check(self, form: bytes, digest: bytes) -> None:
        self.key.verify(form, digest, self.algorithm)


class _PssMatch(_Search):
    def __init__(self, key: rsa.RSAPublicKey, digest: hashes.HashAlgorithm, digests: Sequence[bytes]) -> None:
        super().__init__(digests)
        self.key, self.digest = key, Prehashed(digest)
        self.scheme = pss_scheme(digest)

    def forms(self, signature: bytes) -> list[bytes]:
        return [signature.rjust((self.key.key_size + 7) // 8, b"\0")]

    def check(self, form: bytes, digest: bytes) -> None:
        self.key.verify(form, digest, self.scheme, self.digest)


def pss_scheme(digest: hashes.HashAlgorithm) -> padding.PSS:
    """RSASSA-PSS with the parameters of `algorithms.pss_parameters`."""
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def der_forms(signature: bytes, key_bits: int) -> list[bytes]:
    """The signature as DER `ECDSA-Sig-Value`. It may be one already, or it may be r and s side by side (PKCS#11, IEEE P1363)."""
    forms = []
    try:
        forms.append(encode_dss_signature(*decode_dss_signature(signature)))
    except ValueError:
        pass
    half = (key_bits + 7) // 8
    if len(signature) == 2 * half:
        r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
        forms.append(encode_dss_signature(r, s))
    return forms
