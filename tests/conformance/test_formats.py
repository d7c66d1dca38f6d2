"""What every signature format promises (`formats/interface.py`), for each request that a format of this release takes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from asn1crypto import cms, core
from harness.invoices import invoice
from harness.xml_invoices import xml_invoice
from tests.support.signing_keys import Signer, signer
from tests.support.work import calls_made
from tests.support.xml_documents import MOMENT, joined

from batchseal.document import Credential, Description, Evidence, Prepared, Refusal, Stretch
from batchseal.errors import ItemRejected
from batchseal.formats.cades.cades import Cades
from batchseal.formats.interface import NeedKind, Original, SignatureFormat
from batchseal.formats.pades.pades import Pades, PadesFromHeader, PadesVisible
from batchseal.formats.registry import ALL, Formats
from batchseal.formats.xades.xades import Xades
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureOptions, SignatureType

REQUESTS = sorted({(one.name, *pair) for one in ALL for pair in one.signs})
CONTENTS = {
    ContentType.PDF: [invoice(number, size_bytes=15_000) for number in range(4)],
    ContentType.TEXT_XML: [xml_invoice(number, size_bytes=3_000) for number in range(4)],
    ContentType.APPLICATION_XML: [xml_invoice(number, size_bytes=3_000) for number in range(4)],
    ContentType.OTHER: [bytes([number]) * 5_000 for number in range(4)],
}


class Case:
    """A format, and a request that comes to it."""

    def __init__(self, name: str, signature_type: SignatureType, content_type: ContentType, *, detached: bool) -> None:
        self.format: SignatureFormat = next(one for one in ALL if one.name == name)
        self.type, self.content_type, self.detached = signature_type, content_type, detached
        self.contents: Sequence[bytes] = CONTENTS[content_type]

    def wanted(self, level: Level = Level.B) -> Description:
        return Description(
            "ref",
            "the name",
            self.content_type,
            "Approved",
            "Oeiras",
            signature_type=self.type,
            level=level,
            options=SignatureOptions(detached=self.detached),
        )

    def prepared(self, one: Signer, level: Level = Level.B) -> list[Prepared]:
        originals = [(number, self.wanted(level), content) for number, content in enumerate(self.contents)]
        results = self.format.prepare(originals, one.credential, MOMENT)
        assert all(isinstance(result, Prepared) for result in results), results
        return [result for result in results if isinstance(result, Prepared)]


@pytest.fixture(
    params=[
        (*request, detached)
        for request in REQUESTS
        for detached in ((False, True) if request[0] == "cades" else (False,))
    ],
    ids=lambda param: "-".join(map(str, param)),
)
def case(request: pytest.FixtureRequest) -> Case:
    name, signature_type, content_type, detached = request.param
    return Case(name, signature_type, content_type, detached=detached)


def time_stamp(imprint: bytes, size: int) -> bytes:
    """Not a token, but of its form: a CMS that holds the digest that it is about."""
    content = core.OctetString(imprint + bytes(size))
    return bytes(cms.ContentInfo({"content_type": "data", "content": content}).dump())


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize("level", [Level.B, Level.T])
def test_lengths_are_what_was_said(case: Case, kind: str, level: Level) -> None:
    one = signer(kind)
    for original, prepared in zip(case.contents, case.prepared(one, level), strict=True):
        assert prepared.format == case.format.name
        assert (prepared.level, prepared.fingerprint) == (level, one.credential.fingerprint)
        evidence = Evidence(one.sign(prepared.digest))
        need = case.format.next_need(prepared, evidence, one.credential)
        assert (need is None) is (level is Level.B)
        if need is not None:
            assert need.kind is NeedKind.TIME_STAMP
            evidence = Evidence(evidence.signature, (time_stamp(need.imprint, 3_000),))
            assert case.format.next_need(prepared, evidence, one.credential) is None
        document = case.format.package(original, prepared, evidence, one.credential)
        added = case.format.added_bytes(prepared, evidence, one.credential)
        whole = joined(document)
        assert len(whole) == document.total_bytes == added + (0 if case.detached else len(original))
        assert added <= prepared.additional_bytes
        if prepared.is_exact and level is Level.B:
            assert added == prepared.additional_bytes
        assert bool(document.suffix) is bool(document.media_type)


def test_texts_of_each_documents_own_take_little_more_work(case: Case) -> None:
    """What depends on the credential alone is made once, however many reasons and locations there are."""
    one, content = signer("rsa"), case.contents[0]

    def calls(texts: Sequence[str]) -> tuple[int, int]:
        wanted = [replace(case.wanted(), reason=text, location=text) for text in texts]
        originals = [(number, what, content) for number, what in enumerate(wanted)]

        def prepare() -> list[Prepared | Refusal]:
            return case.format.prepare(originals, one.credential, MOMENT)

        ready = [(found, Evidence(one.sign(found.digest))) for found in prepare() if isinstance(found, Prepared)]
        assert len(ready) == len(texts)

        def package() -> None:
            for prepared, evidence in ready:
                case.format.package(content, prepared, evidence, one.credential)

        return calls_made(prepare), calls_made(package)

    # More than any cache of templates would hold.
    count = 200
    same, distinct = calls(["Oeiras"] * count), calls([f"Oeiras {number}" for number in range(count)])
    assert all(more - less < 200 * count for more, less in zip(distinct, same, strict=True)), (same, distinct)


def test_the_same_input_gives_the_same_bytes_in_threads(case: Case) -> None:
    one = signer("rsa")
    records = case.prepared(one)
    assert records == case.prepared(one)
    pairs = list(zip(case.contents, records, strict=True)) * 8

    def packaged(pair: tuple[bytes, Prepared]) -> bytes:
        original, prepared = pair
        return joined(case.format.package(original, prepared, Evidence(one.sign(prepared.digest)), one.credential))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(packaged, pairs))
    assert results == results[: len(records)] * 8
    assert len(set(results)) == len(records)


def test_the_original_may_be_any_buffer(case: Case) -> None:
    one, original = signer("rsa"), case.contents[0]
    results = []
    for content in (original, bytearray(original), memoryview(original)):
        (prepared,) = case.format.prepare([(0, case.wanted(), content)], one.credential, MOMENT)
        assert isinstance(prepared, Prepared)
        evidence = Evidence(one.sign(prepared.digest))
        results.append(joined(case.format.package(content, prepared, evidence, one.credential)))
    assert results[0] == results[1] == results[2]


def test_a_large_original_is_only_sliced(case: Case) -> None:
    """Its bytes are not in memory when it is packaged."""
    one, original = signer("rsa"), case.contents[0]
    prepared = case.prepared(one)[0]
    evidence = Evidence(one.sign(prepared.digest))
    document = case.format.package(Stretch(0, len(original)), prepared, evidence, one.credential)
    whole = b"".join(
        original[part.start : part.stop] if isinstance(part, Stretch) else bytes(part) for part in document.segments
    )
    assert len(whole) == document.total_bytes
    assert whole == joined(case.format.package(original, prepared, evidence, one.credential))


def test_nothing_is_given_out_below_its_level(case: Case) -> None:
    one = signer("rsa")
    prepared = case.prepared(one, Level.T)[0]
    with pytest.raises(ItemRejected):
        case.format.package(case.contents[0], prepared, Evidence(one.sign(prepared.digest)), one.credential)


@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
def test_a_level_that_is_not_offered_is_refused_by_name(case: Case, level: Level) -> None:
    """Nothing does without time stamps."""
    refused = Formats(has_time_stamps=False).refusal(case.wanted(level))
    assert isinstance(refused, Refusal)
    assert refused.sign_error is SignError.CONFIGURATION_SIGN_ERROR
    assert "the name" not in refused.cause  # whoever shows the cause names the document
    assert Formats(has_time_stamps=True).refusal(case.wanted(level)) is None


def test_a_batch_of_all_formats_keeps_its_order() -> None:
    one = signer("p256")
    originals: list[Original] = []
    for number in range(3):
        for name, kind, content_type in REQUESTS:
            case = Case(name, kind, content_type, detached=False)
            originals.append((len(originals), case.wanted(), case.contents[number]))
    results = Formats(has_time_stamps=False).prepare(originals, one.credential, MOMENT)
    assert [result.ordinal for result in results if isinstance(result, Prepared)] == list(range(len(originals)))
    assert [result.format for result in results if isinstance(result, Prepared)] == [name for name, *_ in REQUESTS] * 3


def test_a_credential_that_is_none_is_refused_as_such(case: Case) -> None:
    from batchseal.errors import CredentialUnusable

    broken = Credential("c", (b"\x30\x03\x02\x01\x01",), "rsa", 256, "sha256", bytes(32))
    with pytest.raises(CredentialUnusable):
        case.format.prepare([(0, case.wanted(), case.contents[0])], broken, MOMENT)


def test_what_is_loaded_on_demand_is_what_the_registry_says() -> None:
    listed = {one.name: one.signs for one in ALL}
    assert {one.name: one.signs for one in (Pades(), PadesVisible(), PadesFromHeader(), Xades(), Cades())} == listed
