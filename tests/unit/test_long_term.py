"""Levels LT and LTA of XAdES and CAdES, as a verifier sees them that was written from the standards; and lengths."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.long_term import cades_level, xades_level
from tests.support.small_pki import SmallPki
from tests.support.xml_documents import ENCODINGS, INVOICE, MOMENT, encoded, joined, wanted
from tests.unit.test_cades import openssl_verify
from tests.unit.test_cades import wanted as cades_wanted

from batchseal.document import Description, Evidence, Prepared
from batchseal.errors import ItemRejected
from batchseal.formats import material
from batchseal.formats.cades.cades import Cades
from batchseal.formats.interface import NeedKind, SignatureFormat
from batchseal.formats.xades.xades import Xades
from batchseal.signature import Level

JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"
HIGH = pytest.mark.parametrize("level", [Level.LT, Level.LTA])


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
