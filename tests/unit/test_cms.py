"""CMS from the template: what OpenSSL and asn1crypto say of it, and the profile of ETSI EN 319 142-1 6.3."""

import hashlib
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from batchseal.document import Credential, Evidence, Prepared, Stretch
from batchseal.errors import CredentialUnusable, ItemRejected
from batchseal.formats.cms import CmsTemplate
from batchseal.formats.pades.pades import Pades, Plan
from batchseal.signature import Level

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def certificate(key: Key, name: str, issuer: tuple[Key, str] | None = None) -> bytes:
    signer, issuer_name = issuer or (key, name)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                issuer is not None, issuer is not None, False, False, False, issuer is None, False, False, False
            ),
            critical=True,
        )
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module", params=["rsa", "ec"])
def signing(request: pytest.FixtureRequest) -> tuple[Key, Credential]:
    root = ec.generate_private_key(ec.SECP256R1())
    key: Key = (
        rsa.generate_private_key(65537, 2048) if request.param == "rsa" else ec.generate_private_key(ec.SECP256R1())
    )
    chain = (certificate(key, "Seal", (root, "Root")), certificate(root, "Root"))
    fingerprint = hashlib.sha256(b"".join(chain)).digest()
    length = 256 if request.param == "rsa" else 72
    return key, Credential("c", chain, request.param, length, "sha256", fingerprint)


def sign(key: Key, digest: bytes) -> bytes:
    prehashed = utils.Prehashed(hashes.SHA256())
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, padding.PKCS1v15(), prehashed)
    return key.sign(digest, ec.ECDSA(prehashed))


def test_openssl_verifies_it(signing: tuple[Key, Credential], tmp_path: Path) -> None:
    key, credential = signing
    template = CmsTemplate(credential)
    content = b"%PDF-1.7 anything"
    for _ in range(20):  # ECDSA values differ in length
        message_digest = hashlib.sha256(content).digest()
        der = template.signed_data(message_digest, sign(key, template.attributes_digest(message_digest)))
        assert len(der) <= template.contents_bytes
    (tmp_path / "cms.der").write_bytes(der)
    (tmp_path / "content").write_bytes(content)
    (tmp_path / "root.der").write_bytes(credential.chain[1])
    convert: list[str | Path] = [
        "openssl",
        "x509",
        "-inform",
        "DER",
        "-in",
        tmp_path / "root.der",
        "-out",
        tmp_path / "root.pem",
    ]
    subprocess.run(convert, check=True)
    command = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "cms.der",
        "-content",
        "content",
        "-CAfile",
        "root.pem",
        "-purpose",
        "any",
    ]
    done = subprocess.run([*command, "-out", "/dev/null"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_profile(signing: tuple[Key, Credential]) -> None:
    _, credential = signing
    template = CmsTemplate(credential)
    digest = bytes(range(32))
    der = template.signed_data(digest, b"\x01" * credential.signature_bytes)
    info = cms.ContentInfo.load(der, strict=True)
    assert info.dump(force=True) == der
    signed = info["content"]
    assert signed["encap_content_info"]["content"].native is None
    assert {c.dump() for c in signed["certificates"]} == set(credential.chain)
    (signer,) = signed["signer_infos"]
    attributes = {a["type"].native: a["values"] for a in signer["signed_attrs"]}
    # No signing-time: the signature dictionary's /M says it.
    assert set(attributes) == {"content_type", "message_digest", "signing_certificate_v2"}
    assert attributes["message_digest"][0].native == digest
    (named,) = attributes["signing_certificate_v2"][0]["certs"]
    assert named["cert_hash"].native == hashlib.sha256(credential.chain[0]).digest()
    assert named["hash_algorithm"]["algorithm"].native == "sha256"
    as_set = b"\x31" + signer["signed_attrs"].dump()[1:]
    assert hashlib.sha256(as_set).digest() == template.attributes_digest(digest)


def test_other_digest_algorithms(signing: tuple[Key, Credential]) -> None:
    template = CmsTemplate(replace(signing[1], digest_algorithm="sha512"))
    der = template.signed_data(bytes(64), b"\x01" * 60)
    signer = cms.ContentInfo.load(der)["content"]["signer_infos"][0]
    assert signer["digest_algorithm"]["algorithm"].native == "sha512"
    assert len(template.attributes_digest(bytes(64))) == 64


def test_a_signature_that_cannot_fit_is_refused(signing: tuple[Key, Credential]) -> None:
    _, credential = signing
    template = CmsTemplate(credential)
    with pytest.raises(ItemRejected):
        template.signed_data(bytes(32), bytes(credential.signature_bytes + 1))
    prepared = prepared_for(credential, 2 + 2 * 100)
    with pytest.raises(ItemRejected, match="reserved"):
        Pades().package(b"original", prepared, Evidence(bytes(credential.signature_bytes)), credential)


def prepared_for(credential: Credential, reserved_bytes: int, level: Level = Level.B) -> Prepared:
    plan = msgspec.msgpack.encode(Plan(b"head", b"tail", reserved_bytes))
    return Prepared(0, "pades", bytes(32), bytes(32), credential.fingerprint, level, 8 + reserved_bytes, plan)


def test_a_document_whose_time_stamp_is_missing_is_not_packaged(signing: tuple[Key, Credential]) -> None:
    _, credential = signing
    prepared = prepared_for(credential, 2 + 2 * 20_000, Level.T)
    with pytest.raises(ItemRejected, match="time stamp"):
        Pades().package(b"original", prepared, Evidence(b"\x01" * credential.signature_bytes), credential)


def test_the_reserved_region_is_filled_exactly(signing: tuple[Key, Credential]) -> None:
    _, credential = signing
    template = CmsTemplate(credential)
    reserved = 2 + 2 * template.contents_bytes
    evidence = Evidence(b"\x01" * credential.signature_bytes)
    signed = Pades().package(b"original", prepared_for(credential, reserved), evidence, credential)
    original, head, region, tail = (bytes(s) for s in signed.segments if not isinstance(s, Stretch))
    assert (original, head, tail) == (b"original", b"head", b"tail")
    assert len(region) == reserved
    assert region.startswith(b"<30")
    assert region.endswith(b"0>")
    assert signed.total_bytes == len(b"originalheadtail") + reserved


def test_a_chain_that_is_no_certificate_is_refused() -> None:
    with pytest.raises(CredentialUnusable):
        CmsTemplate(Credential("c", (b"\x30\x03\x02\x01\x01",), "rsa", 256, "sha256", bytes(32)))


@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "moment", [None, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)]
)
@pytest.mark.parametrize("location", ["", "Oeiras", "é" * 40, "x" * 300, "x" * 70_000])
def test_the_attributes_hold_what_is_signed_with_the_document(
    signing: tuple[Key, Credential], digest_algorithm: str, moment: datetime | None, location: str
) -> None:
    template = CmsTemplate(replace(signing[1], digest_algorithm=digest_algorithm), moment, location)
    digest = hashlib.new(digest_algorithm, b"").digest()
    token = template.signed_data(digest, b"s" * 70)
    for timestamp in (b"", token):
        der = template.signed_data(digest, b"s" * 70, timestamp)
        read = cms.ContentInfo.load(der, strict=True)
        (signer,) = read["content"]["signer_infos"]
        attributes = {one["type"].native: one["values"][0] for one in signer["signed_attrs"]}
        if moment is not None:
            assert attributes["signing_time"].native == moment
        if location:
            assert attributes["1.2.840.113549.1.9.16.2.17"].dump().endswith(location.encode())
        assert attributes["message_digest"].native == digest and signer["signature"].native == b"s" * 70
        encodings = [one.dump() for one in signer["signed_attrs"]]
        assert encodings == sorted(encodings)  # X.690 11.6
        text = b"\x31" + signer["signed_attrs"].dump()[1:]
        assert template.attributes_digest(digest) == hashlib.new(digest_algorithm, text).digest()
        stamps = [one["values"][0].dump() for one in signer["unsigned_attrs"]] if timestamp else []
        assert stamps == ([token] if timestamp else [])
