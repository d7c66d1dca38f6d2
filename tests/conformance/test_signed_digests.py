"""The digest of a signed document is that of its bytes, whatever was kept of it, and mostly without its original."""

import hashlib
import random
from dataclasses import replace

import msgspec
import pytest
from tests.conformance.test_formats import Case, case, time_stamp
from tests.support.signing_keys import signer
from tests.support.xml_documents import INVOICE, MOMENT, joined, wanted

from batchseal._native.digest import Sha256State
from batchseal.document import BegunDigest, Description, Evidence, Prepared, SignedDocument, Stretch
from batchseal.errors import ItemRejected
from batchseal.formats.digests import READ_BYTES, signed_digest
from batchseal.formats.interface import SignatureFormat
from batchseal.formats.xades.xades import KEPT_REST_BYTES, Xades
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.signature import Level

__all__ = ["case"]  # the fixture


class Original:
    """The bytes of a document, and how many of them were read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.read_bytes = 0

    def read(self, start: int, stop: int) -> bytes:
        assert start <= stop <= len(self.content) and stop - start <= READ_BYTES
        self.read_bytes += stop - start
        return self.content[start:stop]


class OneFrame:
    """A payload of one prepared document."""

    def __init__(self, prepared: Prepared) -> None:
        kind, ordinal, self.content = records.prepared_frame(prepared)
        assert (kind, ordinal) == (FrameKind.PREPARED, prepared.ordinal)

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        return bytes(self.content)


def digests(
    used: SignatureFormat, content: bytes, what: Description, kind: str, algorithm: str = "sha256"
) -> tuple[bytes, bytes, int]:
    """The digest of the signed document, what `signed_digest` makes of it, and how much of the original it reads."""
    one = signer(kind, algorithm)
    (fresh,) = used.prepare([(0, what, content)], one.credential, MOMENT, 8_000)
    assert isinstance(fresh, Prepared)
    prepared = records.read_prepared(OneFrame(fresh), 0)  # type: ignore[arg-type]
    assert prepared == fresh and (prepared.begun is not None or not what.evidence_record or used.name == "cades")
    evidence = Evidence(one.sign(prepared.digest))
    if (need := used.next_need(prepared, evidence, one.credential)) is not None:
        evidence = Evidence(evidence.signature, (time_stamp(need.imprint, 3_000),))
    whole = joined(used.package(content, prepared, evidence, one.credential))
    original = Original(content)
    apart = used.package(Stretch(0, len(content)), prepared, evidence, one.credential)
    found = signed_digest(apart, prepared.begun, len(content), original.read)
    return hashlib.sha256(whole).digest(), found, original.read_bytes


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "sha256"), ("p256", "sha256"), ("p384", "sha384")])
@pytest.mark.parametrize("level", [Level.B, Level.T])
def test_the_digest_is_that_of_the_signed_document(case: Case, kind: str, algorithm: str, level: Level) -> None:
    for content in case.contents:
        what = replace(case.wanted(level), evidence_record=True)
        right, found, read_bytes = digests(case.format, content, what, kind, algorithm)
        assert found == right
        # Before an attached document stands the length of its signature and time stamp.
        assert read_bytes == (len(content) if case.format.name == "cades" and not case.detached else 0)


def test_documents_that_were_prepared_without_it_are_read(case: Case) -> None:
    content = case.contents[0]
    right, found, read_bytes = digests(case.format, content, case.wanted(), "rsa")
    assert found == right
    assert read_bytes == (0 if case.detached else len(content))


@pytest.mark.parametrize("evidence_record", [True, False])
def test_what_is_signed_does_not_depend_on_it(case: Case, evidence_record: bool) -> None:
    one = signer("rsa", "sha512")
    originals = [(n, case.wanted(), content) for n, content in enumerate(case.contents)]
    mixed = [(n, replace(what, evidence_record=n % 2 == evidence_record), content) for n, what, content in originals]
    plain, changed = (case.format.prepare(each, one.credential, MOMENT) for each in (originals, mixed))
    for before, after in zip(plain, changed, strict=True):
        assert isinstance(before, Prepared) and isinstance(after, Prepared)
        assert msgspec.structs.replace(after, begun=None) == before


@pytest.mark.parametrize(
    ("at", "behind", "read"),
    [("", b"", False), ("ext:ExtensionContent", b"", False), ("ext:ExtensionContent", b" " * 200_000, True)],
)
def test_of_xml_only_a_long_rest_behind_the_signature_is_read(at: str, behind: bytes, read: bool) -> None:
    content = INVOICE.encode().replace(b"</Invoice>", behind + b"</Invoice>")
    what = replace(wanted(at=at), evidence_record=True)
    right, found, read_bytes = digests(Xades(), content, what, "rsa")
    assert found == right
    assert (read_bytes > KEPT_REST_BYTES) is read and read_bytes < len(content)


def begun(first: bytes, rest: bytes = b"") -> BegunDigest:
    state = Sha256State()
    state.update(first)
    return BegunDigest(state.kept(), len(first), rest)


def test_any_part_may_be_covered_and_any_rest_kept() -> None:
    chance = random.Random(5)
    for _ in range(300):
        content = chance.randbytes(chance.choice([0, 1, 63, 64, 65, 5_000, 3 * READ_BYTES + 1]))
        cut = chance.randint(0, len(content))
        behind = chance.randint(cut, len(content))
        head, text = chance.randbytes(chance.randint(0, 100)), chance.randbytes(chance.randint(0, 100))
        segments = (head, Stretch(0, cut), text, Stretch(behind, len(content)))
        whole = head + content[:cut] + text + content[behind:]
        known = chance.randint(0, len(head) + cut)
        rest = content[behind:] if chance.random() < 0.5 else b""
        signed = SignedDocument(0, segments, len(whole))
        found = signed_digest(signed, begun(whole[:known], rest), len(content), Original(content).read)
        assert found == hashlib.sha256(whole).digest()


def test_a_state_of_more_than_the_document_is_refused() -> None:
    with pytest.raises(ItemRejected):
        signed_digest(SignedDocument(0, (bytes(10),), 10), begun(bytes(11)), 0, Original(b"").read)
