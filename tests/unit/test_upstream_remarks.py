"""The remarks on certificates: whether they are qualified, and when they end."""

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchseal.document import Credential
from batchseal.upstream.remarks import quality_of, remarks_on

NOW = datetime.datetime.now(datetime.UTC)
COMPLIANCE = bytes.fromhex("30080606 04008e460101")
DEVICE = bytes.fromhex("30080606 04008e460104")


def of_type(number: int) -> bytes:
    kind = bytes.fromhex("0607 04008e4601 06") + bytes([number])
    return b"\x30\x13" + bytes.fromhex("0606 04008e460106") + b"\x30\x09" + kind


def certificate(*statements: bytes, days: float = 400) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seal")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW - datetime.timedelta(days=1))
    builder = builder.not_valid_after(NOW + datetime.timedelta(days=days))
    if statements:
        body = b"".join(statements)
        der = b"\x30" + bytes([len(body)]) + body
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3"), der)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def credential(certificate: x509.Certificate) -> Credential:
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Credential("c", (der,), "ec", 72, "sha256", hashlib.sha256(der).digest())


@pytest.mark.parametrize(
    ("statements", "qualified", "said"),
    [
        ((), False, "not a qualified certificate"),
        ((COMPLIANCE, DEVICE, of_type(2)), True, ""),
        ((COMPLIANCE, DEVICE), True, ""),
        ((COMPLIANCE, of_type(2)), False, "device"),
        ((COMPLIANCE, DEVICE, of_type(3)), False, "website"),
        ((b"\x05\x00",), False, "not a qualified certificate"),
    ],
)
def test_quality(statements: tuple[bytes, ...], qualified: bool, said: str) -> None:
    issued = certificate(*statements)
    assert quality_of(issued).qualified is qualified
    remarks = remarks_on("A", credential(issued), NOW, local=False)
    assert len(remarks) == (0 if qualified else 1)
    assert said in " ".join(remarks)


@pytest.mark.parametrize(("days", "warned"), [(61, ""), (59, "60"), (29, "30"), (6.5, "7"), (0.5, "1"), (-1, "1")])
def test_an_end_that_is_near(days: float, warned: str) -> None:
    issued = certificate(COMPLIANCE, DEVICE, of_type(2), days=max(days, -0.5))
    moment = NOW + datetime.timedelta(days=-0.5 - days) if days < -0.5 else NOW
    remarks = remarks_on("A", credential(issued), moment, local=False)
    assert [f"(warned of at {warned})" in remark for remark in remarks] == ([True] if warned else [])


def test_a_local_key_is_called_what_it_is() -> None:
    issued = certificate(COMPLIANCE, DEVICE, of_type(2))
    assert remarks_on("A", credential(issued), NOW, local=True) == ["A: a local key, not qualified"]
