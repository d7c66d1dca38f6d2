"""Signatures are matched to digests by verifying them, whatever their order, encoding or number."""

import base64
import hashlib
import os
import random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from batchseal.document import Credential
from batchseal.upstream.interface import RemoteKey
from batchseal.upstream.keys import choose_algorithm, longest_signature
from batchseal.upstream.verify import match

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ALGORITHM = Prehashed(hashes.SHA256())


def remote_key(private):
    kind = "rsa" if isinstance(private, rsa.RSAPrivateKey) else "ec"
    credential = Credential("c", (b"",), kind, longest_signature(private.public_key()), "sha256", b"")
    return RemoteKey(credential, private.public_key(), 1000, True, "", None)


def sign(private, digest):
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(digest, padding.PKCS1v15(), ALGORITHM)
    return private.sign(digest, ec.ECDSA(ALGORITHM))


def digests_of(count):
    return [hashlib.sha256(b"%d" % number).digest() for number in range(count)]


def in_orders(count):
    straight, digests = list(range(count)), digests_of(count)
    yield "same", straight
    yield "reversed", straight[::-1]
    yield "sorted", sorted(straight, key=lambda n: digests[n])
    yield "sorted as text", sorted(straight, key=lambda n: base64.b64encode(digests[n]))
    yield "shuffled", random.Random(1).sample(straight, count)
    yield "one missing", [n for n in straight if n != 5]
    yield "first missing", straight[1:]
    yield "half", straight[::2]


@pytest.mark.parametrize("private", [RSA, EC], ids=["rsa", "ec"])
@pytest.mark.parametrize("order", [order for _, order in in_orders(40)], ids=[name for name, _ in in_orders(40)])
def test_any_order_and_number(private, order):
    digests = digests_of(40)
    values = match(remote_key(private), digests, [sign(private, digests[number]) for number in order])
    assert [n for n, value in enumerate(values) if value is not None] == sorted(order)
    for number in order:
        assert values[number] is not None
        if private is EC:
            EC.public_key().verify(values[number], digests[number], ec.ECDSA(ALGORITHM))
        else:
            assert values[number] == sign(RSA, digests[number])


@pytest.mark.parametrize("private", [RSA, EC], ids=["rsa", "ec"])
def test_wrong_signatures_leave_their_digest_without(private):
    digests = digests_of(20)
    signatures = [sign(private, digest) for digest in digests]
    flipped = bytearray(signatures[3])
    flipped[-1] ^= 1
    signatures[3] = bytes(flipped)
    signatures[4] = b""
    signatures[5] = os.urandom(len(signatures[5]))
    signatures[6] = sign(private, bytes(32))  # valid, but for a digest that was not sent
    values = match(remote_key(private), digests, signatures)
    assert [n for n, value in enumerate(values) if value is None] == [3, 4, 5, 6]


@pytest.mark.parametrize("private", [RSA, EC], ids=["rsa", "ec"])
def test_another_key_signs_nothing(private):
    others = {
        RSA: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        EC: ec.generate_private_key(ec.SECP256R1()),
    }
    digests = digests_of(30)
    assert match(remote_key(private), digests, [sign(others[private], d) for d in digests]) == [None] * 30


def test_equal_digests_each_get_a_signature():
    digests = [*digests_of(3), *digests_of(3)]
    for private in (RSA, EC):
        assert None not in match(remote_key(private), digests, [sign(private, digest) for digest in digests])


def test_raw_ecdsa_becomes_der():
    digests = digests_of(8)
    ders = [sign(EC, digest) for digest in digests]
    raws = [b"".join(n.to_bytes(32) for n in decode_dss_signature(der)) for der in ders]
    assert match(remote_key(EC), digests, raws) == ders


def test_a_dropped_leading_zero_is_put_back():
    number = 0
    while True:
        digest = hashlib.sha256(b"%d" % number).digest()
        if (signature := sign(RSA, digest))[0] == 0:
            break
        number += 1
    assert match(remote_key(RSA), [digest], [signature.lstrip(b"\0")]) == [signature]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_no_der_signature_is_longer_than_announced(curve):
    key = ec.generate_private_key(curve)
    longest = max(len(key.sign(os.urandom(32), ec.ECDSA(hashes.SHA256()))) for _ in range(300))
    assert longest_signature(key.public_key()) - 1 <= longest <= longest_signature(key.public_key())


@pytest.mark.parametrize(
    ("key_type", "offered", "chosen"),
    [
        ("rsa", ["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11"], ("1.2.840.113549.1.1.11", "sha256", None)),
        ("rsa", ["1.2.840.113549.1.1.1"], ("1.2.840.113549.1.1.1", "sha256", "2.16.840.1.101.3.4.2.1")),
        ("rsa", ["1.2.840.113549.1.1.13"], ("1.2.840.113549.1.1.13", "sha512", None)),
        ("rsa", ["1.2.840.113549.1.1.10"], ("1.2.840.113549.1.1.10", "sha256", "2.16.840.1.101.3.4.2.1")),
        ("ec", ["1.2.840.10045.4.3.2"], ("1.2.840.10045.4.3.2", "sha256", None)),
        ("ec", ["1.2.840.10045.2.1"], ("1.2.840.10045.4.3.2", "sha256", "2.16.840.1.101.3.4.2.1")),
        ("ec", ["1.2.840.113549.1.1.11"], None),
        ("rsa", [], None),
    ],
)
def test_the_algorithm_follows_what_the_key_offers(key_type, offered, chosen):
    assert choose_algorithm(key_type, offered) == chosen
