"""`batchseal verify` on files that pyHanko signed, and on such files after they were changed."""

import datetime
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness.invoices import invoice
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from batchseal import cli
from batchseal.commands.verify import check_file, check_files, load_roots
from batchseal.errors import ConfigurationError

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    root: Path
    other_root: Path
    signer: signers.SimpleSigner
    other_signer: signers.SimpleSigner  # Its certificate leads to the other root.


def certificate(name: str, key: Key, issuer: str, issuer_key: Key, *, authority: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only", "crl_sign"), False
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority, content_commitment=not authority, key_cert_sign=authority, **usage
            ),
            critical=True,
        )
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    made = [signer_and_root(folder / f"{name}.pem", leaf) for name, leaf in (("root", "Ana"), ("other", "Bruno"))]
    return Authority(folder / "root.pem", folder / "other.pem", *made)


def signer_and_root(root: Path, name: str) -> signers.SimpleSigner:
    """Makes a signer, and writes its root certificate to `root`. All roots have the same name and differ in their key only."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    made = certificate("Root", root_key, "Root", root_key, authority=True)
    root.write_bytes(made.public_bytes(Encoding.PEM))
    leaf = certificate(f"{name} Signer", key, "Root", root_key, authority=False)
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(leaf.public_bytes(Encoding.DER)),
        signing_key=asn1_keys.PrivateKeyInfo.load(secret),
        cert_registry=SimpleCertificateStore(),
    )


def sign(authority: Authority, data: bytes, field: str = "One", signer: signers.SimpleSigner | None = None) -> bytes:
    writer = IncrementalPdfFileWriter(io.BytesIO(data))
    metadata = signers.PdfSignatureMetadata(field_name=field)
    return signers.sign_pdf(writer, metadata, signer=signer or authority.signer).getvalue()


@pytest.fixture(scope="module")
def signed(authority: Authority) -> bytes:
    return sign(authority, invoice(1, size_bytes=20_000))


def test_a_good_file_is_valid(authority: Authority, signed: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(signed)
    verdict = check_file(tmp_path / "a.pdf", load_roots([authority.root]))
    assert (verdict.valid, verdict.signer, verdict.coverage, verdict.problem, verdict.signatures) == (
        True,
        "Ana Signer",
        "ENTIRE_FILE",
        "",
        1,
    )


def test_another_root_is_not_enough(authority: Authority, signed: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(signed)
    verdict = check_file(tmp_path / "a.pdf", load_roots([authority.other_root]))
    assert not verdict.valid
    assert "does not lead to the root" in verdict.problem
    assert check_file(tmp_path / "a.pdf", load_roots([authority.other_root, authority.root])).valid
    assert check_file(tmp_path / "a.pdf", []).valid


def test_a_changed_byte_is_seen(authority: Authority, signed: bytes, tmp_path: Path) -> None:
    changed = bytearray(signed)
    changed[signed.index(b"Helvetica") if b"Helvetica" in signed else 5_000] ^= 1
    (tmp_path / "a.pdf").write_bytes(changed)
    verdict = check_file(tmp_path / "a.pdf", load_roots([authority.root]))
    assert not verdict.valid
    assert verdict.problem


def test_what_was_added_later_is_seen(authority: Authority, signed: bytes, tmp_path: Path) -> None:
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    writer.root["/Lang"] = writer.root["/Lang"]
    writer.update_root()
    longer = io.BytesIO()
    writer.write(longer)
    (tmp_path / "a.pdf").write_bytes(longer.getvalue())
    verdict = check_file(tmp_path / "a.pdf", load_roots([authority.root]))
    assert not verdict.valid
    assert "does not cover the whole file" in verdict.problem


def test_two_signatures_are_both_judged(authority: Authority, signed: bytes, tmp_path: Path) -> None:
    twice = sign(authority, signed, "Two")
    (tmp_path / "a.pdf").write_bytes(twice)
    verdict = check_file(tmp_path / "a.pdf", load_roots([authority.root]))
    assert (verdict.valid, verdict.signatures) == (True, 2)


@pytest.fixture
def signed_by_two(authority: Authority, tmp_path: Path) -> Path:
    """A file with two signatures: the first leads to the other root, the second to the root."""
    path = tmp_path / "two" / "a.pdf"
    path.parent.mkdir()
    first = sign(authority, invoice(3, size_bytes=20_000), signer=authority.other_signer)
    path.write_bytes(sign(authority, first, "Two"))
    return path


def test_an_earlier_signature_that_is_not_trusted_is_named(authority: Authority, signed_by_two: Path) -> None:
    verdict = check_file(signed_by_two, load_roots([authority.root]))
    assert (verdict.valid, verdict.signer, verdict.signatures) == (True, "Ana Signer", 2)
    assert verdict.note == "signature 1 by Bruno Signer: its certificate does not lead to the root"
    other = check_file(signed_by_two, load_roots([authority.other_root]))
    assert (other.valid, other.note) == (False, "")
    assert other.problem == "the certificate does not lead to the root"
    nobody_else = check_file(signed_by_two, load_roots([authority.root, authority.other_root]))
    assert (nobody_else.valid, nobody_else.note) == (True, "")
    assert check_file(signed_by_two, []).note == ""


def test_an_unknown_issuer_is_a_remark_and_no_traceback(authority: Authority, signed_by_two: Path) -> None:
    for root, code in ((authority.root, 0), (authority.other_root, 1)):
        command = [sys.executable, "-m", "batchseal.cli", "verify", str(signed_by_two.parent), "--root", str(root)]
        # Use a process of its own, because the test reads the standard error of its child processes.
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})
        assert run.returncode == code
        assert run.stderr == ""
        assert "does not lead to the root" in run.stdout
        assert ("Bruno Signer" in run.stdout) == (root == authority.root)


@pytest.mark.parametrize("data", [b"", b"not a pdf", invoice(2, size_bytes=20_000)])
def test_what_is_not_signed_is_not_valid(authority: Authority, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pdf").write_bytes(data)
    verdict = check_file(tmp_path / "a.pdf", load_roots([authority.root]))
    assert not verdict.valid
    assert verdict.problem


def test_many_files_keep_their_order(authority: Authority, signed: bytes, tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.pdf" for n in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(signed if number % 3 else b"broken")
    verdicts = list(check_files(paths, load_roots([authority.root]), 2))
    assert [v.path for v in verdicts] == paths
    assert [v.valid for v in verdicts] == [bool(number % 3) for number in range(12)]


def test_the_command(authority: Authority, signed: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pdf").write_bytes(signed)
    flags = ["--root", str(authority.root), "--jobs", "1"]
    assert cli.main(["verify", str(tmp_path), *flags]) == 0
    said = capsys.readouterr().out
    assert "Ana Signer" in said
    assert "1 of 1 valid\n" in said
    (tmp_path / "b.pdf").write_bytes(b"broken")
    assert cli.main(["verify", str(tmp_path), *flags, "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "Ana Signer" not in said
    assert "1 of 2 valid" in said


def test_a_root_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    for name in ("x.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match="--root"):
            load_roots([tmp_path / name])
