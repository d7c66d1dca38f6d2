"""`batchseal verify` on evidence records: right ones, renewed ones, and those of something else."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import core
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.small_pki import SmallPki

from batchseal import cli
from batchseal.client.judges.evidence import is_record
from batchseal.client.judges.verdicts import Verdict
from batchseal.commands.verify import check_file
from batchseal.formats.der import CONTEXT_0, OCTET_STRING, SEQUENCE, tlv
from batchseal.formats.evidence_record import REDUCED_HASHTREE, SHA_256, VERSION_1, DigestTree, evidence_record

SHA_384 = core.ObjectIdentifier("2.16.840.1.101.3.4.2.2").dump()
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def pki() -> SmallPki:
    return SmallPki()


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def stamped(token: bytes, lists: Sequence[Sequence[bytes]] = (), algorithm: bytes = SHA_256) -> bytes:
    """An ArchiveTimeStamp."""
    partial = [tlv(SEQUENCE, *(tlv(OCTET_STRING, one) for one in nodes)) for nodes in lists]
    return tlv(SEQUENCE, tlv(CONTEXT_0, algorithm), tlv(REDUCED_HASHTREE, *partial) if lists else b"", token)


def record(*chains: Sequence[bytes], more: bytes = b"", version: bytes = VERSION_1) -> bytes:
    sequence = tlv(SEQUENCE, *(tlv(SEQUENCE, *chain) for chain in chains))
    return tlv(SEQUENCE, version, tlv(SEQUENCE, tlv(SEQUENCE, SHA_256)), more, sequence)


def judged(folder: Path, content: bytes, encoded: bytes, *roots: bytes, name: str = "a.pdf.ers") -> Verdict:
    (folder / "a.pdf").write_bytes(content)
    (folder / name).write_bytes(encoded)
    return check_file(folder / name, roots)


def earlier(pki: SmallPki, ago: timedelta, imprint: bytes) -> bytes:
    pki.behind = ago
    try:
        return pki.token(imprint)
    finally:
        pki.behind = timedelta()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 33])
def test_the_records_of_a_batch_are_valid_for_their_files_alone(pki: SmallPki, tmp_path: Path, count: int) -> None:
    documents = [b"document %d" % number for number in range(count)]
    tree = DigestTree([sha256(one) for one in documents])
    token = pki.token(tree.root)
    for document in documents:
        encoded = evidence_record(tree, sha256(document), token)
        found = judged(tmp_path, document, encoded, pki.root.der)
        assert (found.valid, found.signer, found.coverage, found.problem) == (True, "Time", "the file a.pdf", "")
        assert found.note.startswith("the file existed on 20")
        found = judged(tmp_path, document + b" ", encoded, pki.root.der)
        assert not found.valid
        assert "another file" in found.problem or "something else" in found.problem


def test_a_root_that_it_does_not_lead_to_and_none_at_all(pki: SmallPki, tmp_path: Path) -> None:
    encoded = record([stamped(pki.token(sha256(b"x")))])
    assert judged(tmp_path, b"x", encoded).valid
    found = judged(tmp_path, b"x", encoded, SmallPki().root.der)
    assert (found.valid, found.problem) == (False, "the time stamp's certificate does not lead to the root")


def test_a_record_whose_time_stamps_were_renewed(pki: SmallPki, tmp_path: Path) -> None:
    """RFC 4998 5.2: a time stamp about the one before, and one about the file and all chains so far."""
    first = earlier(pki, timedelta(hours=9), sha256(b"x"))
    second = earlier(pki, timedelta(hours=6), sha256(first))
    chain = [stamped(first), stamped(second)]
    before = tlv(SEQUENCE, tlv(SEQUENCE, *chain))
    leaf = sha256(sha256(b"x") + sha256(before))
    other = sha256(b"y")
    third = stamped(pki.token(sha256(b"".join(sorted((leaf, other))))), [[leaf, other]])
    found = judged(tmp_path, b"x", record(chain, [third]), pki.root.der)
    assert (found.valid, found.signatures, found.problem) == (True, 3, "")
    assert not judged(tmp_path, b"z", record(chain, [third]), pki.root.der).valid
    # Renewed time stamps cannot be taken away in the middle, or be older than what they renew.
    assert not judged(tmp_path, b"x", record([stamped(first)], [third]), pki.root.der).valid
    backwards = [stamped(pki.token(sha256(b"x")))]
    backwards.append(stamped(earlier(pki, timedelta(hours=1), sha256(pki.token(sha256(b"x"))))))
    assert not judged(tmp_path, b"x", record(backwards), pki.root.der).valid
    now = pki.token(sha256(b"x"))
    older = record([stamped(now), stamped(earlier(pki, timedelta(hours=1), sha256(now)))])
    assert judged(tmp_path, b"x", older, pki.root.der).problem == "a time stamp is older than the one that it renews"


def test_a_certificate_is_judged_at_the_time_of_the_next_time_stamp(tmp_path: Path) -> None:
    """That of the last one counts now."""
    pki, later = SmallPki(), SmallPki()
    first = earlier(pki, timedelta(hours=2), sha256(b"x"))
    renewed = record([stamped(first), stamped(later.token(sha256(first)))])
    assert judged(tmp_path, b"x", renewed, pki.root.der, later.root.der).valid
    for roots in ((pki.root.der,), (later.root.der,)):
        assert not judged(tmp_path, b"x", renewed, *roots).valid
    too_old = earlier(pki, YEAR, sha256(b"x"))
    again = record([stamped(too_old), stamped(earlier(pki, YEAR, sha256(too_old)))])
    assert not judged(tmp_path, b"x", again, SmallPki().root.der).valid


Change = Callable[[SmallPki], bytes]
BROKEN: dict[str, Change] = {
    "the imprint is another one": lambda pki: record([stamped(pki.token(sha256(b"y")))]),
    "no time stamp": lambda pki: record([]),
    "no chain": lambda pki: record(),
    "too many": lambda pki: record([stamped(pki.token(sha256(b"x")))] * 201),
    "another version": lambda pki: record([stamped(pki.token(sha256(b"x")))], version=b"\x02\x01\x02"),
    "an encrypted form": lambda pki: record([stamped(pki.token(sha256(b"x")))], more=b"\xa1\x02\x30\x00"),
    "more behind": lambda pki: record([stamped(pki.token(sha256(b"x")))]) + b"\0",
    "cut off": lambda pki: record([stamped(pki.token(sha256(b"x")))])[:-1],
    "another algorithm": lambda pki: record([stamped(pki.token(sha256(b"x")), algorithm=SHA_384)]),
    "an unknown part": lambda pki: record([stamped(pki.token(sha256(b"x")) + tlv(OCTET_STRING, b"more"))]),
    "a broken signature": lambda pki: record([stamped(_flipped(pki.token(sha256(b"x"))))]),
    "no authority": lambda pki: record([stamped(_by_the_signer(sha256(b"x")))]),
}


def _flipped(token: bytes) -> bytes:
    return token[:-1] + bytes([token[-1] ^ 1])


def _by_the_signer(imprint: bytes) -> bytes:
    """A token of somebody whose certificate is not for time stamps."""
    pki = SmallPki()
    pki.authority = pki.issued("No authority", pki.root)
    return pki.token(imprint)


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_right_record_is_not_valid(pki: SmallPki, tmp_path: Path, what: str) -> None:
    found = judged(tmp_path, b"x", BROKEN[what](pki), pki.root.der)
    assert not found.valid
    assert found.problem


def test_a_record_needs_the_file_beside_it(pki: SmallPki, tmp_path: Path) -> None:
    encoded = record([stamped(pki.token(sha256(b"x")))])
    found = judged(tmp_path, b"x", encoded, name="b.pdf.ers")
    assert (found.valid, "b.pdf, which is not there" in found.problem) == (False, True)
    assert "name" in judged(tmp_path, b"x", encoded, name="a.pdf.der").problem


def test_a_record_is_told_from_a_signature_by_its_content(pki: SmallPki) -> None:
    token = pki.token(sha256(b"x"))
    assert is_record(record([stamped(token)])[:16])
    assert is_record(bytes.fromhex("30030201 01"))
    assert not is_record(token[:16])
    assert not any(is_record(start) for start in (b"", b"\x30", b"\x30\x80", b"%PDF-1.7", b"<a/>"))


def test_a_folder_is_searched_for_records_too(
    pki: SmallPki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(tmp_path, b"x", record([stamped(pki.token(sha256(b"x")))]))
    (tmp_path / "a.pdf").rename(tmp_path / "a.txt")
    (tmp_path / "a.pdf.ers").rename(tmp_path / "a.txt.ers")
    (root := tmp_path / "root.pem").write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    assert cli.main(["verify", str(tmp_path), "--root", str(root), "--jobs", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 valid" in shown
    assert "existed" in shown
