"""The sandbox's two lists of certificates: which it has issued, and which of them somebody has revoked."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from batchseal.errors import ConfigurationError
from batchseal.sandbox.authority import Authority
from batchseal.sandbox.register import Entry, Register, Revocation

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
CHANGED = datetime(2026, 11, 29, 11, tzinfo=UTC)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    made = Register(tmp_path)
    made.add(
        [Entry(0xA1, "intermediate", "seal"), Entry(0x0B2, "intermediate", "seal"), Entry(0xC3, "root", "intermediate")]
    )
    return made


def write(folder: Path, text: str) -> None:
    path = folder / "revoked.txt"
    path.write_text(text)
    os.utime(path, (CHANGED.timestamp(), CHANGED.timestamp()))


@pytest.mark.parametrize(
    ("text", "revoked"),
    [
        ("", {}),
        ("# nothing\n\n", {}),
        ("A1", {0xA1: Revocation(CHANGED, None)}),
        ("00a1", {0xA1: Revocation(CHANGED, None)}),
        ("seal", {0xA1: Revocation(CHANGED, None), 0xB2: Revocation(CHANGED, None)}),
        ("A1 keyCompromise # lost", {0xA1: Revocation(CHANGED, ReasonFlags.key_compromise)}),
        ("A1 unspecified", {0xA1: Revocation(CHANGED, None)}),
        (
            "B2 superseded 2026-11-01T10:00:00.5+01:00",
            {0xB2: Revocation(datetime(2026, 11, 1, 9, tzinfo=UTC), ReasonFlags.superseded)},
        ),
        ("B2 superseded 2026-11-30T10:00:00Z", {}),
        ("intermediate", {}),
    ],
)
def test_a_line_revokes_a_certificate_or_all_of_a_name(
    register: Register, tmp_path: Path, text: str, revoked: object
) -> None:
    write(tmp_path, text)
    assert register.revoked("intermediate", NOW) == revoked


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seel", "'seel' is neither the serial number in hex nor the name of a certificate in issued.txt"),
        ("A2", "'A2' is neither"),
        ("A1 keyCompromized", "'keyCompromized' is not one of the reasons unspecified, keyCompromise"),
        ("A1 removeFromCRL", "'removeFromCRL' is not one of the reasons"),
        ("A1 superseded yesterday", "Invalid isoformat string: 'yesterday'"),
        ("A1 superseded 2026-11-01T10:00:00", "has no time zone"),
        ("A1 superseded 2026-11-01T10:00:00Z again", "'again' is too much"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_by_its_number(
    register: Register, tmp_path: Path, line: str, said: str
) -> None:
    """Otherwise a misspelt name would mean that nothing is revoked."""
    write(tmp_path, f"# who was revoked\n{line}\n")
    with pytest.raises(ConfigurationError, match="line 2") as refused:
        register.revoked("root", NOW)
    assert said in refused.value.cause and str(tmp_path / "revoked.txt") in refused.value.cause


def test_what_another_process_has_issued_is_known_and_stays(register: Register, tmp_path: Path) -> None:
    other = Register(tmp_path)
    other.add([Entry(0xD4, "intermediate", "another")])
    assert register.has("intermediate", 0xD4) and not register.has("root", 0xD4) and not register.has("root", 0xE5)
    register.add([Entry(0xE5, "root", "more")])
    assert other.has("root", 0xE5) and other.has("intermediate", 0xA1) and other.has("intermediate", 0xD4)


@pytest.mark.parametrize("text", ["A1 intermediate", "X1 intermediate seal", "\x80"])
def test_a_damaged_list_of_issued_certificates_is_refused_and_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "issued.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="remove it, and the certificates in the folder are listed again"):
        Authority(tmp_path, "p256")


def test_a_folder_without_a_list_is_listed(tmp_path: Path) -> None:
    """As of an earlier release, and as after the removal that the refusal of a damaged list names."""
    authority = Authority(tmp_path, "p256")
    leaf, intermediate, root = (certificate.serial_number for certificate in authority.signer("A").chain)
    (tmp_path / "issued.txt").unlink()
    (tmp_path / "a name with spaces.pem").write_bytes((tmp_path / "root.pem").read_bytes())
    register = Authority(tmp_path, "p256").register
    assert register.has("intermediate", leaf) and register.has("root", intermediate) and register.has("root", root)
