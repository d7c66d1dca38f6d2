"""The planner's own ciphers and digest against those of `cryptography`, pyHanko and hashlib."""

import hashlib

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import given
from hypothesis import strategies as st

from batchseal._native.pdf_ciphers import aes_cbc, md5_short, rc4

KEYS = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))


def theirs(key: bytes, data: bytes, iv: bytes) -> bytes:
    padder, encryptor = PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv + encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


@given(key=KEYS, data=st.binary(max_size=300), iv=st.binary(min_size=16, max_size=16))
def test_aes_encrypts_and_decrypts_as_cryptography_does(key: bytes, data: bytes, iv: bytes) -> None:
    encrypted = aes_cbc(key, data, iv)
    assert encrypted == theirs(key, data, iv)
    assert aes_cbc(key, encrypted) == data


@given(key=KEYS, data=st.binary(max_size=100))
def test_aes_decrypts_anything_in_whole_blocks(key: bytes, data: bytes) -> None:
    whole = data[: len(data) // 16 * 16]
    expected = b""
    if len(whole) >= 32:
        decryptor = Cipher(algorithms.AES(key), modes.CBC(whole[:16])).decryptor()
        expected = decryptor.update(whole[16:]) + decryptor.finalize()
        padding = expected[-1]
        if 1 <= padding <= 16 and expected.endswith(bytes([padding]) * padding):
            expected = expected[:-padding]
    assert aes_cbc(key, data) == expected


@given(key=st.sampled_from([5, 7, 8, 10, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n)), data=st.binary())
def test_rc4_is_that_of_cryptography(key: bytes, data: bytes) -> None:
    encryptor = Cipher(ARC4(key), mode=None).encryptor()
    assert rc4(key, data) == encryptor.update(data) + encryptor.finalize()


# RFC 6229, whose keys of 56 and 128 bits are covered above; the key of 80 bits, the first bytes.
def test_rc4_of_a_published_vector() -> None:
    assert rc4(bytes(range(1, 11)), bytes(16)).hex() == "ede3b04643e586cc907dc21851709902"


@given(data=st.binary(max_size=55))
def test_md5_of_short_messages(data: bytes) -> None:
    assert md5_short(data) == hashlib.md5(data, usedforsecurity=False).digest()


def test_callers_mistakes_are_exceptions() -> None:
    for call in (
        lambda: rc4(b"", b"x"),
        lambda: md5_short(bytes(56)),
        lambda: aes_cbc(bytes(24), b""),
        lambda: aes_cbc(bytes(16), b"", bytes(15)),
    ):
        with pytest.raises(ValueError, match=r"long|length|empty"):
            call()
