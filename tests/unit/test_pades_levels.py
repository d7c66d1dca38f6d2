"""Levels LT and LTA of PDF: the section behind the signature, as pyHanko and pdfsig see it, over sources of every form."""

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from asn1crypto import pem
from harness.validators import ITextReport, itext_verify, judging, pdfsig_verify, pyhanko_verify
from harness.validators.samples import document, hybrid, text_field, with_stream, with_table
from pyhanko.pdf_utils.misc import PdfReadError
from tests.support.pdf_levels import dss_is_behind, pdf_level, reader_of, validation_streams
from tests.support.signing_keys import signer
from tests.support.small_pki import SmallPki
from tests.support.xml_documents import MOMENT, joined
from tests.unit.test_long_term import complete

from batchseal._native.planner import PlannedSection, PlannedUpdate, PlanRefusal, plan, update_bound
from batchseal.document import Description, Evidence, Material, Prepared, Refusal
from batchseal.errors import ItemRejected
from batchseal.formats import material
from batchseal.formats.interface import NeedKind
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType
from batchseal.signature import Level

JUDGED = Path(__file__).parents[3] / "shared" / "reference" / "judged"
CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
HIGH = pytest.mark.parametrize("level", [Level.LT, Level.LTA])
NEEDS = [NeedKind.TIME_STAMP, NeedKind.VALIDATION_MATERIAL, NeedKind.ARCHIVE_TIME_STAMP]
FIELD = {7: text_field(b"(name)")}
OLD_CERTIFICATE = signer("rsa").credential.chain[0]
OLD = {
    20: b"<</Length %d>>\nstream\n%s\nendstream" % (len(OLD_CERTIFICATE), OLD_CERTIFICATE),
    21: b"[20 0 R]",
    22: b"<</Type/VRI/0123456789012345678901234567890123456789<</Cert[20 0 R]/TU(D:20200101000000Z)>>>>",
}
SOURCES: dict[str, Callable[[], bytes]] = {
    "table": lambda: with_table(document()),
    "stream": lambda: with_stream(document(), compressed=[1, 2, 3, 4]),
    "hybrid": lambda: hybrid(document(form=b"8 0 R", extra=FIELD | {8: b"<</Fields[7 0 R]>>"}), [7, 8]),
    "no xref": lambda: with_table(document()).replace(b"startxref\n", b"startxref\n9"),
    "no xref, compressed": lambda: with_stream(document(), compressed=[1, 4]).replace(b"startxref\n", b"startxref\n9"),
    "form in the catalog": lambda: with_table(document(form=b"<</Fields[7 0 R]>>", annots=b"[7 0 R]", extra=FIELD)),
    "arrays of their own": lambda: with_table(
        document(form=b"<</Fields 8 0 R>>", annots=b"9 0 R", extra=FIELD | {8: b"[7 0 R]", 9: b"[7 0 R]"})
    ),
    "one array for both": lambda: with_table(
        document(form=b"<</Fields 8 0 R>>", annots=b"8 0 R", extra=FIELD | {8: b"[7 0 R]"})
    ),
    "no line break at the end": lambda: with_table(document())[:-1],
    "old DSS": lambda: with_table(document(catalog=b"/DSS<</Certs[20 0 R]/VRI 22 0 R>>", extra=OLD)),
    "old DSS as an object": lambda: with_table(
        document(catalog=b"/DSS 23 0 R", extra=OLD | {23: b"<</Type/DSS/Certs 21 0 R/CRLs[]/VRI 22 0 R>>"})
    ),
    "old DSS in an object stream": lambda: with_stream(
        document(catalog=b"/DSS 23 0 R", extra=OLD | {23: b"<</OCSPs[]/Certs 21 0 R>>"}), compressed=[1, 21, 23]
    ),
    "DSS twice": lambda: with_table(document(catalog=b"/DSS<</Certs[]>>/DSS<</Certs[20 0 R]>>", extra=OLD)),
    "extensions": lambda: with_table(document(catalog=b"/Extensions<</ADBE<</BaseVersion/1.7/ExtensionLevel 8>>>>")),
    "extensions as an object": lambda: with_table(
        document(catalog=b"/Extensions 24 0 R", extra={24: b"<</ADBE<</BaseVersion/1.7/ExtensionLevel 8>>>>"})
    ),
    "ours among the extensions": lambda: with_table(
        document(catalog=b"/Extensions<</ESIC<</BaseVersion/1.7/ExtensionLevel 5>>>>")
    ),
}


def wanted(level: Level) -> Description:
    return Description("ref", "name", ContentType.PDF, "Reason", "Place", level=level)


def signed(original: bytes, level: Level, pki: SmallPki, what: Description | None = None) -> bytes:
    what = wanted(level) if what is None else replace(what, level=level)
    prepared, evidence, kinds = complete(Pades(), original, what, pki)
    assert kinds == NEEDS[: level - 1]
    found = Pades().package(original, prepared, evidence, pki.signer.credential)
    whole = joined(found)
    added = Pades().added_bytes(prepared, evidence, pki.signer.credential)
    assert len(whole) == found.total_bytes == len(original) + added
    assert whole.startswith(original[original.find(b"%PDF-") :])
    return whole


@HIGH
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_reaches_its_level(source: str, level: Level, tmp_path: Path) -> None:
    pki, original = SmallPki(), SOURCES[source]()
    whole = signed(original, level, pki)
    assert pdf_level(whole, pki.root.der) == level.name
    reader = reader_of(whole)
    names = [one.field_name for one in reader.embedded_signatures]
    assert names == ["Signature1", "Signature2"][: level - 2]
    assert reader.root["/Extensions"]["/ESIC"]["/BaseVersion"] == "/1.7"
    if source.startswith("extensions"):
        assert reader.root["/Extensions"]["/ADBE"]["/ExtensionLevel"] == 8
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole)
    # In strict mode, pyHanko takes no hybrid file in which a hidden object is written anew.
    is_strict = source not in ("hybrid", "DSS twice") and "no xref" not in source
    *ours, last = pyhanko_verify(path, pki.root.der, strict=is_strict)
    assert all(one.valid for one in (*ours, last))
    assert last.whole_file is (level is Level.LTA)


@HIGH
def test_pdfsig_accepts_the_signature(level: Level, tmp_path: Path) -> None:
    pki, paths = SmallPki(kind="rsa"), []
    for number, make in enumerate(SOURCES.values()):
        paths.append(tmp_path / f"{number}.pdf")
        paths[-1].write_bytes(signed(make(), level, pki))
    with judging():
        for verdicts in pdfsig_verify(paths, pem.armor("CERTIFICATE", pki.root.der)).values():
            assert verdicts[0].valid
            assert verdicts[0].trusted
            assert len(verdicts) == level - 2  # a document time stamp is a signature that pdfsig does not verify yet
            assert verdicts[-1].whole_file is (level is Level.LTA)


@pytest.mark.parametrize("digest_algorithm", ["sha384", "sha512"])
def test_a_time_stamp_is_about_sha_256_whatever_the_signature_uses(digest_algorithm: str) -> None:
    pki = SmallPki(digest_algorithm)
    assert pdf_level(signed(SOURCES["table"](), Level.LTA, pki), pki.root.der) == "LTA"


def test_documents_of_several_levels_are_prepared_together() -> None:
    pki, original = SmallPki(), SOURCES["stream"]()
    originals = [(number, wanted(level), original) for number, level in enumerate(Level)]
    together = Pades().prepare(originals, pki.signer.credential, MOMENT)
    for one in originals:
        (alone,) = Pades().prepare([one], pki.signer.credential, MOMENT)
        assert alone == together[one[0]]


@HIGH
def test_the_material_stands_behind_the_signature_alone(level: Level) -> None:
    """EU DSS takes a DSS dictionary only from a revision behind that of the signature. See also the judged files below."""
    pki = SmallPki()
    whole = signed(SOURCES["table"](), level, pki)
    reader = reader_of(whole)
    (signature,) = reader.embedded_regular_signatures
    assert "/DSS" not in reader.get_historical_resolver(signature.signed_revision).root
    assert dss_is_behind(reader, signature)
    # One section is behind it, of both the dictionary and the time stamp.
    assert reader.xrefs.total_revisions == signature.signed_revision + 2


@pytest.mark.skipif(not JUDGED.is_dir(), reason="the judged files are not here")
def test_the_judged_files_say_where_the_material_belongs() -> None:
    """EU DSS found levels LT and LTA in the first two, and only T in the last one."""
    for name, behind in (("pades-blt", True), ("pades-blta", True), ("pades-dss-in-same-revision", False)):
        reader = reader_of((JUDGED / f"{name}.pdf").read_bytes())
        assert "/DSS" in reader.root
        assert dss_is_behind(reader, reader.embedded_regular_signatures[0]) is behind


def test_earlier_signatures_stay_valid_and_their_material_is_kept(tmp_path: Path) -> None:
    whole, pkis = SOURCES["table"](), [SmallPki() for _ in range(4)]
    for pki, level in zip(pkis, (Level.LT, Level.LTA, Level.LTA, Level.LT), strict=True):
        whole = signed(whole, level, pki)
    path = tmp_path / "signed.pdf"
    path.write_bytes(whole)
    verdicts = pyhanko_verify(path, *(pki.root.der for pki in pkis))
    assert len(verdicts) == 6
    assert all(one.valid and one.trusted for one in verdicts), verdicts
    dss = reader_of(whole).root["/DSS"]
    assert {pki.authority.der for pki in pkis} <= validation_streams(reader_of(whole).root)
    assert [len(dss[key]) for key in ("/Certs", "/OCSPs", "/CRLs")] == [4, 4, 4]
    for at, reached in enumerate(("LTA", "LTA", "LTA", "LT")):  # the last time stamp covers the first three
        assert pdf_level(whole, *(pki.root.der for pki in pkis), at=at) == reached


@pytest.mark.parametrize("source", [name for name in SOURCES if name.startswith("old DSS")])
def test_an_existing_dictionary_is_merged(source: str) -> None:
    pki = SmallPki()
    dss = reader_of(signed(SOURCES[source](), Level.LT, pki)).root["/DSS"]
    streams = [each.get_object().data for each in dss["/Certs"]]
    assert streams == [OLD_CERTIFICATE, pki.authority.der]
    if "stream" not in source:
        assert dss["/VRI"]["/" + "0123456789" * 4]["/TU"] == "D:20200101000000Z"


def test_one_stream_in_the_place_of_a_list_is_kept() -> None:
    original = with_table(document(catalog=b"/DSS<</Certs 20 0 R/OCSPs 4 0 R/CRLs(x)>>", extra=OLD))
    ((_, section),) = sections([original])
    assert (section.certificates, section.ocsp_responses, section.crls) == (b" 20 0 R", b" 4 0 R", b"")


@pytest.mark.parametrize(
    ("catalog", "extra"),
    [
        (b"/DSS 5 0 R", {}),  # what the page shows: written anew as a dictionary, it would be gone
        (b"/DSS 1 0 R", {}),
        (b"/DSS 4 0 R", {}),  # the page, which the update has written
        (b"/Extensions 5 0 R", {}),
        (b"/Extensions 20 0 R/DSS 20 0 R", {20: b"<<>>"}),
        (b"/DSS 20 0 R", {20: b"<</Certs[20 0 R]/VRI<<5 6>>>>"}),
    ],
)
@HIGH
def test_a_dictionary_that_is_something_else_is_refused(level: Level, catalog: bytes, extra: dict[int, bytes]) -> None:
    pki = SmallPki()
    original = with_table(document(catalog=catalog, extra=extra))
    (found,) = Pades().prepare([(0, wanted(level), original)], pki.signer.credential, MOMENT)
    assert isinstance(found, Refusal)
    assert "malformed" in found.cause
    (at_level_b,) = Pades().prepare([(0, wanted(Level.B), original)], pki.signer.credential, MOMENT)
    assert isinstance(at_level_b, Prepared)


def test_what_is_stamped_is_compared_with_what_is_given_out() -> None:
    pki, original = SmallPki(), SOURCES["table"]()
    prepared, evidence, _ = complete(Pades(), original, wanted(Level.LTA), pki)
    swapped = material.encoded(SmallPki().present(), (), deflates=True)
    for lacking, said in (
        (replace(evidence, time_stamps=()), "time stamp is missing"),
        (replace(evidence, time_stamps=(pki.token(bytes(32)),)), "time stamp is about another"),
        (replace(evidence, material=b""), "material is missing"),
        (replace(evidence, archive_time_stamps=()), "archive time stamp is missing"),
        (replace(evidence, archive_time_stamps=(pki.token(bytes(32)),)), "archive time stamp is about another"),
        (replace(evidence, material=swapped), "archive time stamp is about another"),
        (Evidence(pki.signer.sign(bytes(32)), *(evidence.time_stamps,)), "time stamp is about another|is missing"),
    ):
        with pytest.raises(ItemRejected, match=said):
            Pades().package(original, prepared, lacking, pki.signer.credential)


@pytest.mark.parametrize(
    ("name", "change"), [("trailer", 1 << 20), ("trailer", 3), ("start", -(1 << 20)), ("range_at", 1 << 20)]
)
def test_a_record_that_was_changed_gives_no_document(name: str, change: int) -> None:
    pki, original = SmallPki(), SOURCES["table"]()
    prepared, evidence, _ = complete(Pades(), original, wanted(Level.LTA), pki)
    record = msgspec.msgpack.decode(prepared.plan)
    record["section"][name] += change
    damaged = msgspec.structs.replace(prepared, plan=msgspec.msgpack.encode(record))
    with pytest.raises(ItemRejected):
        Pades().package(original, damaged, evidence, pki.signer.credential)


def test_streams_are_made_once_and_kept() -> None:
    """Another zlib may make other bytes of the same certificate, over which a time stamp would not be right."""
    long, short = b"certificate " * 100, os.urandom(30)
    stored = material.encoded(Material((long,), (short,), ()), (), deflates=True)
    (certificates, responses, crls) = material.streams(stored)
    ((packed, is_deflated),) = certificates
    assert is_deflated
    assert zlib.decompress(packed) == long
    assert (responses, crls) == ([(short, False)], [])
    assert material.decoded(stored) == Material((long,), (short,), ())
    # What was stored without them, for a signature of another format, has none.
    assert material.streams(material.encoded(Material((long,), (), ()), ())) == [[(long, False)], [], []]


def sections(originals: Sequence[bytes]) -> list[tuple[PlannedUpdate, PlannedSection]]:
    found = []
    for original in originals:
        update = plan(original, contents_bytes=8, signing_time="D:20261121120000Z", section=True, time_stamp=True)
        assert isinstance(update, PlannedUpdate), update
        assert update.section is not None
        found.append((update, update.section))
    return found


def test_what_is_planned_stays_within_the_bound() -> None:
    """A catalog that is long only once it is unpacked stands in the update and in the section: the bound is for both."""
    for size in (10, 10_000, 30_000, 60_000, 120_000):
        original = with_stream(document(catalog=b"/A[" + b"0 " * size + b"]"), compressed=[1])
        update = plan(original, contents_bytes=8, signing_time="D:20261121120000Z", section=True, time_stamp=True)
        if isinstance(update, PlannedUpdate):
            assert update.section is not None
            planned = sum(len(part) for part in (update.head, update.tail, update.section.objects, update.section.rows))
            assert planned <= update_bound(len(original))
        else:
            assert isinstance(update, PlanRefusal)
            assert update.code == "limit_update"
    assert isinstance(update, PlannedUpdate) is False


def test_without_a_section_the_update_is_the_same() -> None:
    for make in SOURCES.values():
        original = make()
        alone = plan(original, contents_bytes=8, signing_time="D:20261121120000Z")
        update = plan(original, contents_bytes=8, signing_time="D:20261121120000Z", section=True)
        assert isinstance(alone, PlannedUpdate)
        assert isinstance(update, PlannedUpdate)
        assert alone.section is None
        assert (alone.head, alone.tail, alone.byte_range) == (update.head, update.tail, update.byte_range)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")
@HIGH
def test_nothing_of_the_corpus_is_broken(level: Level, tmp_path: Path) -> None:
    """What can be signed at level T reaches the higher ones. pyHanko does not open all of these files, pdfsig does.

    iText counts where it opens the source. It knows RSA and not ECDSA, which is the key of the document time stamps here.
    """
    pki = SmallPki(kind="rsa")
    key, reached = pki.signer.credential, 0
    paths, refused, unread = list[Path](), list[str](), list[str]()
    for source in sorted(CORPUS.glob("*.pdf")):
        original = source.read_bytes()
        if len(original) > 8 << 20:
            continue
        (plain,) = Pades().prepare([(0, wanted(Level.T), original)], key, MOMENT)
        (found,) = Pades().prepare([(0, wanted(level), original)], key, MOMENT)
        if isinstance(found, Refusal):
            refused += [f"{source.name}: {found.cause}"] if isinstance(plain, Prepared) else []
            continue
        paths.append(tmp_path / source.name)
        paths[-1].write_bytes(whole := signed(original, level, pki))
        try:
            assert pdf_level(whole, pki.root.der) == level.name, source.name
            reached += 1
        except (KeyError, PdfReadError):
            unread.append(source.name)
    assert not refused
    assert reached > 100
    assert len(unread) < 0.05 * reached, unread
    with judging():
        verdicts = pdfsig_verify(paths, pem.armor("CERTIFICATE", pki.root.der))
        ours = {path.name: found[-1 if level is Level.LT else -2] for path, found in verdicts.items() if found}
        assert [name for name, verdict in ours.items() if not verdict.valid] == []
        assert len(ours) > 0.95 * len(paths)
        itext = itext_verify([*(CORPUS / path.name for path in paths), *paths])
    opened = [path for path in paths if itext[CORPUS / path.name].pages]
    complaints = {
        path.name: why for path in opened if (why := itext_complains(itext[CORPUS / path.name], itext[path], level))
    }
    assert complaints == {}
    assert len(opened) > 0.95 * len(paths)


def itext_complains(before: ITextReport, after: ITextReport, level: Level) -> str:
    """What iText finds wrong with a file that was signed at this level: in our signature or time stamp, or in earlier ones."""
    if after.rebuilt and not before.rebuilt:
        return "the xref is refused"
    old = {one.field: one for one in before.verdicts}
    new = [one for one in after.verdicts if one.field not in old]
    changed = [one for one in after.verdicts if one.field in old and one.valid != old[one.field].valid]
    if changed or len(after.verdicts) != len(old) + len(new):
        return f"earlier signatures: {changed}"
    ours, *stamps = sorted(new, key=lambda one: one.detail)
    is_good = ours.valid is True and all(one.valid is not False and one.whole_file for one in stamps)
    return "" if is_good and len(stamps) == level - Level.LT else str(new)
