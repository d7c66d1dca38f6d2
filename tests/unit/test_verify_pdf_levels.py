"""`batchseal verify` on PDF of levels LT and LTA: whole, without a part, with something else behind the signature."""

import io
from pathlib import Path

import pytest
from harness.validators.samples import document, with_stream, with_table
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from tests.support.revocation import HOUR, answer
from tests.unit.test_pades_levels import wanted
from tests.unit.test_verify_levels import Pki, packaged_as

from batchseal.client.judges.verdicts import Verdict
from batchseal.commands.verify import check_file
from batchseal.formats.pades.pades import Pades
from batchseal.signature import Level

JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"
ORIGINAL = with_table(document())


def packaged(level: Level, pki: Pki, original: bytes = ORIGINAL) -> bytes:
    return packaged_as(Pades(), original, wanted(level), pki)


def judged(whole: bytes, folder: Path, *pkis: Pki) -> Verdict:
    (folder / "signed.pdf").write_bytes(whole)
    return check_file(folder / "signed.pdf", [pki.root.der for pki in pkis])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("with_root", [True, False])
@pytest.mark.parametrize("level", list(Level))
def test_the_level_that_is_reached(level: Level, with_root: bool, compressed: bool, tmp_path: Path) -> None:
    pki = Pki()
    original = with_stream(document(), compressed=[1, 4]) if compressed else ORIGINAL
    verdict = judged(packaged(level, pki, original), tmp_path, *([pki] if with_root else []))
    assert verdict.valid, verdict.problem
    assert (verdict.level, verdict.signer, verdict.note) == (level.name, "Seal", "")


@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
def test_what_is_lacking_is_named(level: Level, tmp_path: Path) -> None:
    pki = Pki(lambda pki: pki.told([]))
    verdict = judged(packaged(level, pki), tmp_path, pki)
    assert (verdict.valid, verdict.level) == (True, "T"), verdict.problem
    assert "level LT is not reached: nothing says whether Seal was revoked" in verdict.note


def test_a_revoked_signer_makes_the_file_invalid(tmp_path: Path) -> None:
    pki = Pki(lambda pki: pki.told([answer(pki.leaf, pki.middle, revoked=-2 * HOUR)]))
    verdict = judged(packaged(Level.LT, pki), tmp_path, pki)
    assert not verdict.valid
    assert "was revoked" in verdict.problem


@pytest.mark.parametrize("part", [b"/OCSPs[", b"/Subtype/Widget/FT/Sig/T(Signature2)"])
def test_a_change_of_what_is_stamped_is_found(part: bytes, tmp_path: Path) -> None:
    pki = Pki()
    whole = packaged(Level.LTA, pki)
    at = whole.index(part)
    verdict = judged(whole[:at] + part.replace(b"S", b"s", 1) + whole[at + len(part) :], tmp_path, pki)
    assert not verdict.valid
    assert "broken" in verdict.problem


def test_a_token_about_something_else_is_found(tmp_path: Path) -> None:
    pki = Pki()
    whole = packaged(Level.LTA, pki)
    at = whole.index(b"/Contents <", whole.index(b"/DocTimeStamp")) + 11
    token = pki.token(bytes(32)).hex().encode()
    room = whole.index(b">", at) - at
    verdict = judged(whole[:at] + token.ljust(room, b"0") + whole[at + room :], tmp_path, pki)
    assert not verdict.valid
    assert "level LTA is broken: the document time stamp is broken" in verdict.problem


@pytest.mark.parametrize("level", [Level.B, Level.LT, Level.LTA])
def test_another_page_behind_the_signature_is_found(level: Level, tmp_path: Path) -> None:
    pki = Pki()
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(packaged(level, pki)))
    page = writer.root["/Pages"]["/Kids"][0]["/Kids"][0]
    page["/Rotate"] = generic.NumberObject(90)
    writer.update_container(page)
    writer.write(out)
    verdict = judged(out.getvalue(), tmp_path, pki)
    assert not verdict.valid
    assert "does not cover the whole file" in verdict.problem


def test_the_last_signature_counts_and_the_others_stay_valid(tmp_path: Path) -> None:
    pki, other = Pki(), Pki()
    once = packaged(Level.LTA, pki)
    twice = judged(packaged(Level.B, other, once), tmp_path, pki, other)
    assert (twice.valid, twice.level, twice.note, twice.signatures) == (True, "B", "", 2), twice.problem
    thrice = judged(packaged(Level.LT, other, once), tmp_path, pki, other)
    assert (thrice.valid, thrice.level, thrice.note) == (True, "LT", ""), thrice.problem


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
def test_material_in_the_own_revision_of_a_signature_is_not_for_it(tmp_path: Path) -> None:
    verdict = judged((JUDGED / "pades-dss-in-same-revision.pdf").read_bytes(), tmp_path)
    assert (verdict.level, verdict.valid) == ("T", True), verdict
    assert "stands in the signature's own revision" in verdict.note
    for name, level in (("pades-bt", "T"), ("pades-blt", "LT"), ("pades-blta", "LTA")):
        verdict = judged((JUDGED / f"{name}.pdf").read_bytes(), tmp_path)
        assert (verdict.level, verdict.note) == (level, ""), verdict


def test_a_hostile_dictionary_is_not_read_without_end(tmp_path: Path) -> None:
    pki = Pki()
    whole = packaged(Level.LT, pki)
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(whole))
    dss = writer.root["/DSS"]
    dss["/Certs"] = generic.ArrayObject([dss["/Certs"].raw_get(0)] * 3_000)
    writer.update_container(dss)
    writer.write(out)
    verdict = judged(out.getvalue(), tmp_path, pki)
    assert not verdict.valid
    assert "more than" in verdict.problem
