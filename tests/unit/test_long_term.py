"""Levels LT and LTA of XAdES and CAdES, as a verifier sees them that was written from the standards; and lengths."""

import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.exceptions import InvalidSignature
from harness.validators import judging
from harness.validators.cms import bouncy_castle_verify
from tests.support.long_term import cades_level, xades_level
from tests.support.small_pki import SmallPki
from tests.support.xml_documents import ENCODINGS, INVOICE, MOMENT, encoded, joined, wanted
from tests.unit.test_cades import openssl_verify
from tests.unit.test_cades import wanted as cades_wanted

from batchseal.document import Description, Evidence, Prepared
from batchseal.errors import ItemRejected
from batchseal.formats import material
from batchseal.formats.cades.cades import Cades
from batchseal.formats.der import CONTEXT_0, CONTEXT_1, ID_SIGNED_DATA, SEQUENCE, children, signed_data, tlv
from batchseal.formats.interface import NeedKind, SignatureFormat
from batchseal.formats.xades.xades import Xades
from batchseal.signature import Level

JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"
HIGH = pytest.mark.parametrize("level", [Level.LT, Level.LTA])


@dataclass
class Cases:
    """Files for a judge, with the files that were signed where these are not in them."""

    files: list[tuple[Path, Path | None]] = field(default_factory=list)
    right: dict[Path, tuple[str, Level]] = field(default_factory=dict)
    wrong: list[Path] = field(default_factory=list)
    lacking: list[Path] = field(default_factory=list)

    def add(self, path: Path, whole: bytes, content: Path | None) -> Path:
        path.write_bytes(whole)
        self.files.append((path, content))
        return path


def complete(
    used: SignatureFormat, content: bytes, what: Description, pki: SmallPki
) -> tuple[Prepared, Evidence, list[NeedKind]]:
    """What was prepared, with all that its level needs, and which needs there were."""
    one = pki.signer
    (prepared,) = used.prepare([(0, what, content)], one.credential, MOMENT)
    assert isinstance(prepared, Prepared), prepared
    evidence, kinds = Evidence(one.sign(prepared.digest)), list[NeedKind]()
    while (need := used.next_need(prepared, evidence, one.credential)) is not None:
        kinds.append(need.kind)
        if need.kind is NeedKind.TIME_STAMP:
            evidence = replace(evidence, time_stamps=(pki.token(need.imprint),))
        elif need.kind is NeedKind.VALIDATION_MATERIAL:
            assert need.chains == (one.credential.chain, (pki.authority.der,))
            evidence = replace(evidence, material=material.encoded(pki.present(), need.chains[0]))
        else:
            evidence = replace(evidence, archive_time_stamps=(pki.token(need.imprint),))
    return prepared, evidence, kinds


@HIGH
@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("transform", ["ENVELOPED", "XPATH2_FILTER"])
def test_xades(transform: str, encoding: str, digest_algorithm: str, level: Level) -> None:
    pki, original = SmallPki(digest_algorithm), encoded(INVOICE, encoding)
    what = wanted(level=level, transform=transform, at="ext:ExtensionContent")
    prepared, evidence, kinds = complete(Xades(), original, what, pki)
    assert kinds == [NeedKind.TIME_STAMP, NeedKind.VALIDATION_MATERIAL, NeedKind.ARCHIVE_TIME_STAMP][: level - 1]
    document = Xades().package(original, prepared, evidence, pki.signer.credential)
    whole = joined(document)
    assert xades_level(whole) == level.name
    assert len(whole) == document.total_bytes == len(original) + Xades().added_bytes(prepared, evidence)


@HIGH
@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha384"])
@pytest.mark.parametrize("detached", [False, True])
def test_cades(detached: bool, digest_algorithm: str, level: Level, tmp_path: Path) -> None:
    pki = SmallPki(digest_algorithm)
    for size in (1, 200, 70_000):
        content = os.urandom(size)
        prepared, evidence, _ = complete(Cades(), content, cades_wanted(detached=detached, level=level), pki)
        document = Cades().package(content, prepared, evidence, pki.signer.credential)
        whole = joined(document)
        assert cades_level(whole, content) == level.name
        added = Cades().added_bytes(prepared, evidence, pki.signer.credential)
        assert len(whole) == document.total_bytes == added + (0 if detached else size)
        assert openssl_verify(tmp_path, whole, pki.signer.pem(1), content if detached else None) == content


@pytest.fixture(scope="module")
def for_bouncy_castle(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """CAdES of both levels, attached and detached, of keys of three kinds, and each also with one thing wrong."""
    folder, cases = tmp_path_factory.mktemp("cms"), Cases()
    for kind, detached, level in itertools.product(("rsa", "pss", "p256"), (False, True), (Level.LT, Level.LTA)):
        pki, content = SmallPki(kind=kind), os.urandom(5_000)
        name = f"{kind}-{'detached' if detached else 'attached'}-{level.name}"
        prepared, evidence, _ = complete(Cades(), content, cades_wanted(detached=detached, level=level), pki)
        whole = joined(Cades().package(content, prepared, evidence, pki.signer.credential))
        beside = folder / f"{name}.content"
        beside.write_bytes(content)
        cases.right[cases.add(folder / name, whole, beside if detached else None)] = (kind, level)
        beside = folder / f"{name}.other"
        beside.write_bytes(content[1:] + b"x")
        other = whole if detached else whole.replace(content, beside.read_bytes())
        cases.wrong.append(cases.add(folder / f"{name}-of-another", other, beside if detached else None))
        for what, damaged in without_material(whole, pki.root.der).items():
            at = cases.add(folder / f"{name}-without-{what}", damaged, folder / f"{name}.content" if detached else None)
            cases.lacking.append(at)
    return cases


def changed(whole: bytes, place: int, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The CMS with other members in a field of SignedData: 3 has the certificates, 4 the answers about them (RFC 5652 5.1)."""
    fields = list(signed_data(whole))
    fields[place] = tlv(fields[place][:1], *change(children(fields[place])))
    return tlv(SEQUENCE, ID_SIGNED_DATA, tlv(CONTEXT_0, tlv(SEQUENCE, *fields)))


def without_material(whole: bytes, root: bytes) -> dict[str, bytes]:
    """The CMS without its lists, without any answer about certificates, and without the issuer's certificate."""
    return {
        "lists": changed(whole, 4, lambda answers: [one for one in answers if one[:1] == CONTEXT_1]),
        "answers": changed(whole, 4, lambda answers: []),
        "issuer": changed(whole, 3, lambda certificates: [one for one in certificates if one != root]),
    }


def test_bouncy_castle_finds_signature_and_material(for_bouncy_castle: Cases) -> None:
    with judging():
        reports = bouncy_castle_verify(for_bouncy_castle.files)
    assert len(reports) == len(for_bouncy_castle.files)
    algorithms = {"rsa": "1.2.840.113549.1.1.", "pss": "1.2.840.113549.1.1.10", "p256": "1.2.840.10045."}
    for path, (kind, level) in for_bouncy_castle.right.items():
        report = reports[path]
        assert (report.problem, report.signature, report.lacking) == ("", True, ()), path.name
        assert (report.certificates, report.crls, report.ocsp_responses) == (3, 1, 1)
        assert report.signature_time_stamp is True
        assert report.archive_time_stamp is (True if level is Level.LTA else None)
        assert report.algorithm.startswith(algorithms[kind])
    assert {path.name for path in for_bouncy_castle.wrong if reports[path].signature} == set()
    assert {path.name for path in for_bouncy_castle.lacking if not reports[path].lacking} == set()


@pytest.mark.parametrize("kind", ["rsa", "pss", "p256"])
@pytest.mark.parametrize(
    "damage", ["content", "certificate", "list", "time stamp", "index", "order of the index", "archive time stamp"]
)
def test_the_verifier_notices_what_an_archive_time_stamp_is_not_about(damage: str, kind: str) -> None:
    """A judge that accepts everything would be none."""
    pki, content = SmallPki(kind=kind), b"any content" * 100
    prepared, evidence, _ = complete(Cades(), content, cades_wanted(detached=True, level=Level.LTA), pki)
    whole = joined(Cades().package(content, prepared, evidence, pki.signer.credential))
    assert cades_level(whole, content) == "LTA"
    first, second, *_ = [hashlib.sha256(one).digest() for one in children(signed_data(whole)[3])]
    other = SmallPki()
    damaged = {
        "content": lambda: whole,
        "certificate": lambda: changed(whole, 3, lambda there: [*there, other.root.der]),
        "list": lambda: changed(whole, 4, lambda there: [*there, *other.present().crls]),
        "time stamp": lambda: whole.replace(evidence.time_stamps[0], of_the_same_length(pki, evidence.time_stamps[0])),
        "index": lambda: whole.replace(first, bytes(32)),
        "order of the index": lambda: whole.replace(first, bytes(32)).replace(second, first).replace(bytes(32), second),
        "archive time stamp": lambda: whole.replace(imprint_of(evidence.archive_time_stamps[0]), bytes(32)),
    }[damage]()
    assert damage == "content" or damaged != whole
    with pytest.raises((AssertionError, InvalidSignature)):
        cades_level(damaged, content[1:] if damage == "content" else content)


def imprint_of(token: bytes) -> bytes:
    """The digest that a time stamp is about."""
    info = cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"].parsed
    return bytes(info["message_imprint"]["hashed_message"].native)


def of_the_same_length(pki: SmallPki, token: bytes) -> bytes:
    """Another time stamp about the same digest. Signatures of ECDSA have several lengths."""
    while (other := pki.token(imprint_of(token))) == token or len(other) != len(token):
        pass
    return other


@pytest.mark.parametrize(
    ("used", "what"), [(Xades(), wanted(level=Level.LTA)), (Cades(), cades_wanted(level=Level.LTA))]
)
def test_nothing_is_given_out_below_its_level(used: SignatureFormat, what: Description) -> None:
    pki, original = SmallPki(), INVOICE.encode()
    prepared, evidence, _ = complete(used, original, what, pki)
    other = replace(evidence, archive_time_stamps=(pki.token(bytes(32)),))
    swapped = material.encoded(SmallPki().present(), ())
    for lacking, said in (
        (replace(evidence, time_stamps=()), "time stamp is missing"),
        (replace(evidence, material=b""), "material is missing"),
        (replace(evidence, archive_time_stamps=()), "archive time stamp is missing"),
        (other, "archive time stamp is about another"),
        (replace(evidence, material=swapped), "archive time stamp is about another"),
    ):
        with pytest.raises(ItemRejected, match=said):
            used.package(original, prepared, lacking, pki.signer.credential)


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
@pytest.mark.parametrize(("name", "level"), [("xades-bt", "T"), ("xades-blt", "LT"), ("xades-blta", "LTA")])
def test_the_verifier_accepts_what_others_have_accepted(name: str, level: str) -> None:
    assert xades_level((JUDGED / f"{name}.xml").read_bytes()) == level


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
def test_the_verifier_accepts_cades_of_others() -> None:
    content = (JUDGED / "data.bin").read_bytes()
    assert cades_level((JUDGED / "det.p7s").read_bytes(), content) == "B"
    assert cades_level((JUDGED / "ph.p7s").read_bytes(), content) == "T"
