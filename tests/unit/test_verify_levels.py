"""`batchseal verify` on levels LT and LTA: on whole signatures, on what lacks a part, and on what somebody has changed."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from tests.support.revocation import HOUR, answer, crl
from tests.support.signing_keys import Signer
from tests.support.small_pki import DAY, Issued, SmallPki
from tests.support.xml_documents import INVOICE, joined, wanted
from tests.unit.test_cades import wanted as cades_wanted
from tests.unit.test_long_term import complete

from batchseal import cli
from batchseal.client.judges.material import MOST_RESPONDERS
from batchseal.client.judges.revocation import CLOCK
from batchseal.client.judges.verdicts import Verdict
from batchseal.commands.verify import check_file, load_roots
from batchseal.document import Credential, Description, Material
from batchseal.formats.cades.cades import Cades
from batchseal.formats.interface import SignatureFormat
from batchseal.formats.xades.xades import Xades
from batchseal.signature import Level

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"

CONTENT = INVOICE.encode()
XML, ATTACHED, DETACHED = "signed.xml", "data.bin.p7m", "data.bin.p7s"
NAMES = [XML, ATTACHED, DETACHED]
Tell = Callable[["Pki"], Material]


class Pki(SmallPki):
    """Its material is what `tell` makes of it. The signer's certificate is issued by an authority below the root."""

    def __init__(self, tell: Tell | None = None, ends: timedelta = 9 * DAY) -> None:
        super().__init__()
        self.middle = self.issued("Middle", self.root, is_authority=True)
        self.leaf = self.issued("Seal", self.middle, ends=ends)
        chain = (self.leaf.der, self.middle.der)
        fingerprint = hashlib.sha256(b"".join(chain)).digest()
        self.signer = Signer(self.leaf.key, Credential("seal", chain, "ec", 73, "sha256", fingerprint))
        self._tell = tell or Pki.told

    def told(
        self,
        responses: Sequence[bytes] | None = None,
        lists: Sequence[bytes] | None = None,
        certificates: Sequence[bytes] | None = None,
    ) -> Material:
        """What a verifier needs, or other parts of it: an OCSP response about the signer, a list of its issuer's issuer."""
        return Material(
            (self.root.der, self.middle.der) if certificates is None else tuple(certificates),
            (answer(self.leaf, self.middle),) if responses is None else tuple(responses),
            (crl(self.root),) if lists is None else tuple(lists),
        )

    def present(self) -> Material:
        return self._tell(self)


def packaged(name: str, level: Level, pki: Pki) -> bytes:
    if name == XML:
        return packaged_as(Xades(), CONTENT, wanted(level=level), pki)
    return packaged_as(Cades(), CONTENT, cades_wanted(level=level, detached=name == DETACHED), pki)


def packaged_as(used: SignatureFormat, content: bytes, what: Description, pki: Pki) -> bytes:
    prepared, evidence, _ = complete(used, content, what, pki)
    return joined(used.package(content, prepared, evidence, pki.signer.credential))


def judged(whole: bytes, name: str, folder: Path, pki: Pki, *, with_root: bool = True) -> Verdict:
    """The verdict on a signed file."""
    (folder / name).write_bytes(whole)
    (folder / "data.bin").write_bytes(CONTENT)
    return check_file(folder / name, [pki.root.der] if with_root else [])


# --- what is whole ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("with_root", [True, False])
@pytest.mark.parametrize("level", list(Level))
def test_the_level_that_is_reached(level: Level, with_root: bool, name: str, tmp_path: Path) -> None:
    pki = Pki()
    verdict = judged(packaged(name, level, pki), name, tmp_path, pki, with_root=with_root)
    assert verdict.valid, verdict.problem
    assert (verdict.level, verdict.signer, verdict.note) == (level.name, "Seal", "")


def test_two_signatures_of_different_levels(tmp_path: Path) -> None:
    """The second one is not under the archive time stamp of the first, and does it no harm."""
    pki = Pki()
    once = packaged_as(Xades(), CONTENT, wanted(level=Level.LTA, transform="XPATH"), pki)
    second = wanted(level=Level.LT, transform="XPATH2_FILTER", at="ext:ExtensionContent")
    twice = packaged_as(Xades(), once, second, Pki(lambda pki: pki.told([])))
    verdict = judged(twice, XML, tmp_path, pki, with_root=False)
    assert verdict.valid, verdict.problem
    # The one in the extension comes first in the document.
    assert (verdict.signatures, verdict.level) == (2, "LTA")
    assert verdict.note == "signature 1: level LT is not reached: nothing says whether Seal was revoked"


@pytest.mark.parametrize("name", NAMES)
def test_another_root_is_not_enough(name: str, tmp_path: Path) -> None:
    pki = Pki()
    (tmp_path / name).write_bytes(packaged(name, Level.LTA, pki))
    (tmp_path / "data.bin").write_bytes(CONTENT)
    verdict = check_file(tmp_path / name, [Pki().root.der])
    assert not verdict.valid
    assert "does not lead to the root" in verdict.problem
    assert verdict.level == "T"


@pytest.mark.parametrize("name", NAMES)
def test_a_certificate_that_has_expired_since(name: str, tmp_path: Path) -> None:
    """Level LT is for that. Below, nothing tells of the time of the signature and of revocation until then."""

    def told(pki: Pki) -> Material:
        return pki.told([answer(pki.leaf, pki.middle, begins=-2 * HOUR)], [crl(pki.root, begins=-2 * HOUR)])

    pki = Pki(told, -HOUR)
    pki.behind = 2 * HOUR
    verdict = judged(packaged(name, Level.LT, pki), name, tmp_path, pki)
    assert verdict.valid, verdict.problem
    assert (verdict.level, verdict.note) == ("LT", "")
    verdict = judged(packaged(name, Level.T, pki), name, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (False, "T")
    assert "does not lead to the root" in verdict.problem
    pki.behind = timedelta()
    verdict = judged(packaged(name, Level.LT, pki), name, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (False, "T")
    assert "level LT is broken: Seal was not valid at " in verdict.problem


def test_an_answer_that_was_given_after_the_certificate_had_expired(tmp_path: Path) -> None:
    """Its issuer need not know of it any more."""
    pki = Pki(ends=-HOUR)
    pki.behind = 2 * HOUR
    verdict = judged(packaged(XML, Level.LT, pki), XML, tmp_path, pki, with_root=False)
    assert (verdict.valid, verdict.level) == (True, "T"), verdict.problem
    assert "the OCSP response about Seal does not count: it was given after the certificate had expired" in verdict.note


def test_the_table_names_the_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pki = Pki()
    (tmp_path / "lta.xml").write_bytes(packaged(XML, Level.LTA, pki))
    (tmp_path / "lt.p7m").write_bytes(packaged(ATTACHED, Level.LT, pki))
    (tmp_path / "root.pem").write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    assert cli.main(["verify", str(tmp_path), "--root", str(tmp_path / "root.pem"), "--jobs", "1"]) == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert {tuple(row[2:5]) for row in rows} >= {("yes", "LTA", "Seal"), ("yes", "LT", "Seal")}


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
@pytest.mark.parametrize("with_root", [True, False])
def test_files_that_other_judges_accepted(with_root: bool) -> None:
    roots = load_roots([JUDGED / "root.pem"]) if with_root else []
    for name, level in (("xades-bt", "T"), ("xades-blt", "LT"), ("xades-blta", "LTA")):
        verdict = check_file(JUDGED / f"{name}.xml", roots)
        assert verdict.valid, f"{name}: {verdict.problem}"
        assert (verdict.level, verdict.note) == (level, ""), name


# --- material ---------------------------------------------------------------------------------------------------------

RIGHT, NO_CHECK = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), x509.OCSPNoCheck()
PLACE = x509.UniformResourceIdentifier("http://revocation.test/")
LISTS = x509.CRLDistributionPoints([x509.DistributionPoint([PLACE], None, None, None)])
ASKED = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, PLACE)])


def by_responder(pki: Pki, *extensions: x509.ExtensionType, issuer: Issued | None = None) -> tuple[bytes, Issued]:
    """An OCSP response about the signer, of a responder with these extensions in its certificate; and the responder."""
    responder = pki.issued("Responder", issuer or pki.middle, *extensions)
    return answer(pki.leaf, pki.middle, responder=responder), responder


def with_checked_responder(pki: Pki, revoked: timedelta | None = None) -> Material:
    """The responder's certificate may be revoked, and its issuer says whether it is."""
    response, responder = by_responder(pki, RIGHT, ASKED)
    return pki.told([response, answer(responder, pki.middle, revoked=revoked)])


def responders_in_a_row(pki: Pki, count: int) -> list[bytes]:
    """The next one answers for each; the last one's issuer does."""
    row = [pki.issued(f"Responder {number}", pki.middle, RIGHT, ASKED) for number in range(count)]
    answers = [answer(one, pki.middle, responder=by) for one, by in pairwise([pki.leaf, *row])]
    return [*answers, answer(row[-1], pki.middle)]


def responders_in_a_circle(pki: Pki, count: int) -> list[bytes]:
    """Each answers for all others, and nobody else answers for one of them."""
    circle = [pki.issued(f"Responder {number}", pki.middle, RIGHT, ASKED) for number in range(count)]
    answers = [answer(one, pki.middle, responder=by) for one in circle for by in circle if one is not by]
    return [answer(pki.leaf, pki.middle, responder=circle[0]), *answers]


def only(**scope: object) -> x509.IssuingDistributionPoint:
    """A list's scope."""
    flags = ("only_contains_user_certs", "only_contains_ca_certs", "only_contains_attribute_certs", "indirect_crl")
    others = ("full_name", "relative_name", "only_some_reasons")
    words: dict[str, Any] = {**dict.fromkeys(flags, False), **dict.fromkeys(others), **scope}
    return x509.IssuingDistributionPoint(**words)


ENOUGH: dict[str, Tell] = {
    "lists alone": lambda pki: pki.told([], [crl(pki.root), crl(pki.middle)]),
    "responses alone": lambda pki: pki.told(
        [answer(pki.leaf, pki.middle), answer(pki.middle, pki.root), answer(pki.authority, pki.root)], []
    ),
    "a responder that needs no check": lambda pki: pki.told([by_responder(pki, RIGHT, NO_CHECK, LISTS)[0]]),
    "a responder that names no place": lambda pki: pki.told([by_responder(pki, RIGHT)[0]]),
    "a responder that was checked": with_checked_responder,
    "revoked after the time stamp": lambda pki: pki.told([answer(pki.leaf, pki.middle, revoked=HOUR)]),
    "given before the time stamp": lambda pki: pki.told([answer(pki.leaf, pki.middle, begins=-5 * HOUR)]),
    "given just before, without an end": lambda pki: pki.told(
        [answer(pki.leaf, pki.middle, begins=-CLOCK / 2, ends=None)]
    ),
    "by as many responders in a row as may be": lambda pki: pki.told(responders_in_a_row(pki, MOST_RESPONDERS)),
    "given afterwards, without an end": lambda pki: pki.told(
        [answer(pki.leaf, pki.middle, begins=CLOCK / 2, ends=None)]
    ),
    "a list about authorities only": lambda pki: pki.told(
        [answer(pki.leaf, pki.middle), answer(pki.authority, pki.root)],
        [crl(pki.root, extension=only(only_contains_ca_certs=True))],
    ),
    "a bad answer beside a good one": lambda pki: pki.told(
        [answer(pki.leaf, pki.middle, responder=pki.issued("Middle", pki.root)), answer(pki.leaf, pki.middle)]
    ),
}


@pytest.mark.parametrize("name", [XML, ATTACHED])
@pytest.mark.parametrize("what", ENOUGH)
def test_material_that_is_enough(what: str, name: str, tmp_path: Path) -> None:
    pki = Pki(ENOUGH[what])
    verdict = judged(packaged(name, Level.LT, pki), name, tmp_path, pki)
    assert verdict.valid, verdict.problem
    assert (verdict.level, verdict.note) == ("LT", "")


# What is lacking, and what is said of it. The file is valid, at level T.
LACKING: dict[str, tuple[Tell, str]] = {
    "nothing about the signer": (lambda pki: pki.told([]), "nothing says whether Seal was revoked"),
    "nothing about the authorities": (lambda pki: pki.told(lists=[]), "nothing says whether Middle was revoked"),
    "nothing about the time stamp authority": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle), answer(pki.middle, pki.root)], []),
        "nothing says whether Time was revoked",
    ),
    "about another certificate": (
        lambda pki: pki.told([answer(pki.issued("Other", pki.middle), pki.middle)]),
        "nothing says whether Seal was revoked",
    ),
    "about an issuer of the same name": (
        lambda pki: pki.told([answer(pki.leaf, pki.issued("Middle", pki.root, is_authority=True))]),
        "nothing says whether Seal was revoked",
    ),
    "too old": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle, begins=-3 * DAY, ends=-DAY)]),
        "the OCSP response about Seal does not count: it counted until",
    ),
    "too old, without an end": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle, begins=-2 * CLOCK, ends=None)]),
        "the OCSP response about Seal does not count: it was given before the time stamp",
    ),
    "responders without end": (
        lambda pki: pki.told(responders_in_a_row(pki, MOST_RESPONDERS + 2)),
        "too many responders answer for each other",
    ),
    "responders who all answer for each other": (
        lambda pki: pki.told(responders_in_a_circle(pki, 9)),
        "too many responders answer for each other",
    ),
    "a list that is too old": (
        lambda pki: pki.told(lists=[crl(pki.root, begins=-3 * DAY, ends=-DAY)]),
        "the CRL about Middle does not count: it counted until",
    ),
    "a list of changes": (
        lambda pki: pki.told(lists=[crl(pki.root, extension=x509.DeltaCRLIndicator(3))]),
        "the CRL about Middle does not count: it holds only changes",
    ),
    "a list about others": (
        lambda pki: pki.told(lists=[crl(pki.root, extension=only(only_contains_user_certs=True))]),
        "the CRL about Middle does not count: it is for other certificates",
    ),
    "one of several lists": (
        lambda pki: pki.told(lists=[crl(pki.root, extension=only(full_name=[PLACE]))]),
        "the CRL about Middle does not count: it is one of several lists",
    ),
    "a responder of whom nothing is said": (
        lambda pki: pki.told([by_responder(pki, RIGHT, ASKED)[0]]),
        "nothing says whether Responder was revoked",
    ),
    "a responder about whom no list is there": (
        lambda pki: pki.told([by_responder(pki, RIGHT, LISTS)[0]]),
        "nothing says whether Responder was revoked",
    ),
    "no root": (lambda pki: pki.told(certificates=[pki.middle.der]), "no chain of certificates leads from Seal to"),
}


@pytest.mark.parametrize("name", [XML, ATTACHED])
@pytest.mark.parametrize("what", LACKING)
def test_material_that_is_not_enough(what: str, name: str, tmp_path: Path) -> None:
    tell, said = LACKING[what]
    pki = Pki(tell)
    verdict = judged(packaged(name, Level.LT, pki), name, tmp_path, pki, with_root=False)
    assert verdict.valid, verdict.problem
    assert verdict.level == "T"
    assert f"level LT is not reached: {said}" in verdict.note


# What nobody with the right can have given, or what forbids to trust the signature.
BROKEN: dict[str, tuple[Tell, str]] = {
    "revoked": (lambda pki: pki.told([answer(pki.leaf, pki.middle, revoked=-HOUR)]), "Seal was revoked at"),
    "revoked, says a list": (
        lambda pki: pki.told([], [crl(pki.root), crl(pki.middle, (pki.leaf, -HOUR))]),
        "Seal was revoked at",
    ),
    "revoked, says one of two": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle), answer(pki.leaf, pki.middle, revoked=-HOUR)]),
        "Seal was revoked at",
    ),
    "an authority that was revoked": (
        lambda pki: pki.told(lists=[crl(pki.root, (pki.middle, -HOUR))]),
        "Middle was revoked at",
    ),
    "a time stamp authority that was revoked later": (
        lambda pki: pki.told(lists=[crl(pki.root, (pki.authority, HOUR))]),
        "Time was revoked at",
    ),
    "a responder that was revoked": (lambda pki: with_checked_responder(pki, -HOUR), "Responder was revoked at"),
    "unknown": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle, is_known=False)]),
        "the OCSP response about Seal does not count: the responder does not know it",
    ),
    "of the future": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle, begins=HOUR)]),
        "the OCSP response about Seal does not count: it is of the future",
    ),
    "signed by somebody else": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle, responder=pki.issued("Middle", pki.root))]),
        "the OCSP response about Seal does not count: its signature is not right",
    ),
    "a responder without the right": (
        lambda pki: pki.told([by_responder(pki, NO_CHECK)[0]]),
        "the OCSP response about Seal does not count: its responder has no right to answer for the issuer",
    ),
    "a responder of another issuer": (
        lambda pki: pki.told([by_responder(pki, RIGHT, NO_CHECK, issuer=pki.root)[0]]),
        "the OCSP response about Seal does not count: its responder has no right to answer for the issuer",
    ),
    "a list signed by somebody else": (
        lambda pki: pki.told(lists=[crl(pki.root, key=pki.middle)]),
        "the CRL about Middle does not count: it is not signed by the issuer",
    ),
    "a response that is cut": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle), answer(pki.leaf, pki.middle)[:-40]]),
        "an OCSP response cannot be read",
    ),
    "a busy responder": (
        lambda pki: pki.told([answer(pki.leaf, pki.middle), b"\x30\x03\x0a\x01\x03"]),
        "an OCSP response cannot be read (the responder answered try_later)",
    ),
    "a certificate that is none": (
        lambda pki: pki.told(certificates=[pki.root.der, pki.middle.der, b"\x30\x03\x02\x01\x01"]),
        "a certificate cannot be read",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_material_that_forbids_trust(what: str, tmp_path: Path) -> None:
    tell, said = BROKEN[what]
    pki = Pki(tell)
    verdict = judged(packaged(XML, Level.LT, pki), XML, tmp_path, pki)
    assert not verdict.valid
    assert verdict.level == "T"
    assert f"level LT is broken: {said}" in verdict.problem


@pytest.mark.parametrize("what", ["revoked", "signed by somebody else", "a list signed by somebody else"])
def test_material_in_cms_that_forbids_trust(what: str, tmp_path: Path) -> None:
    tell, said = BROKEN[what]
    pki = Pki(tell)
    verdict = judged(packaged(ATTACHED, Level.LT, pki), ATTACHED, tmp_path, pki)
    assert (verdict.valid, verdict.level) == (False, "T")
    assert f"level LT is broken: {said}" in verdict.problem
