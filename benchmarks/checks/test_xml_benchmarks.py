"""XML and CMS beside their peers: each side does the work that it is measured by, and judges see what is wrong."""

import base64
import json
from pathlib import Path

import pytest
from benchmarks import cades_ratio, xades_ratio
from benchmarks.bodies import PDF, XML, Kind, write_body
from benchmarks.judging import judge_reply
from benchmarks.packagers import OURS, Contender, fixed, real
from harness.validators import judging
from harness.validators.local_signer import local_signer
from harness.validators.xml import only_signature_added
from harness.xml_invoices import xml_invoice


def test_xades_is_measured_and_judged() -> None:
    with judging():
        result = xades_ratio.measure(4, 1)
    for size in xades_ratio.SIZES:
        assert result[f"xades_{size}_over_lxml"] > 0
        assert result["judged"][size][OURS]["references"] == 4
        assert result["rates"][size].keys() == {one.name for one in xades_ratio.contenders()}
    assert result["xades_20k_over_signxml"] > 0


def test_cades_is_measured_and_judged() -> None:
    result = cades_ratio.measure(4, 1)
    assert result["cades_over_pyhanko"] > 0
    assert {counts["intact"] for counts in result["judged"]["200k"].values()} == {4}
    assert {counts["pyhanko"] for counts in result["judged"]["200k"].values()} == {4}


def test_a_contender_that_signs_another_digest_is_found() -> None:
    invoices = [xml_invoice(number, size_bytes=2_000) for number in range(3)]
    xades_ratio.check_same_work(invoices, [xades_ratio.ours(), xades_ratio.signxml()])
    other = Contender("other", lambda documents, sign: xades_ratio.ours().seal(documents[::-1], sign))
    with pytest.raises(RuntimeError, match="other has signed another digest"):
        xades_ratio.check_same_work(invoices, [other])


def test_judges_refuse_what_is_wrong(tmp_path: Path) -> None:
    invoices = [xml_invoice(number, size_bytes=2_000) for number in range(3)]

    def seal_another(documents, sign):
        return xades_ratio.ours().seal([documents[0].replace(b"EUR", b"USD"), *documents[1:]], sign)

    counts = xades_ratio.judge(Contender(OURS, seal_another), invoices, tmp_path / "xml")
    assert (counts["documents"], counts["untouched"]) == (3, 2)

    def without_key(documents, sign):
        return cades_ratio.ours().seal(documents, fixed)

    counts = cades_ratio.judge(Contender(OURS, without_key), [b"x", b"y"], tmp_path / "cms")
    assert counts["intact"] == counts["documents"] == 2
    assert {counts[name] for name in counts.keys() & {"pyhanko", "openssl"}} == {0}


@pytest.mark.parametrize("kind", [PDF, XML])
def test_every_ordinal_has_a_document_of_its_own(kind: Kind, tmp_path: Path) -> None:
    documents = kind.make(3, 20_000)
    body = tmp_path / "body.json"
    total = write_body(body, 7, documents, kind)
    entries = json.loads(b"{" + body.read_bytes())["documents"]
    contents = [base64.b64decode(entry["documentRequest"]["base64Content"], validate=True) for entry in entries]
    assert contents == [kind.variant(documents[ordinal % 3], ordinal) for ordinal in range(7)]
    assert sum(map(len, contents)) == total
    assert len(set(contents)) == 7
    assert all(19_000 < len(content) < 25_000 for content in contents)
    if kind is XML:
        assert len({digest for (digest,) in xades_ratio.lxml().seal(contents, fixed)}) == 7


def test_the_documents_of_a_reply_are_judged(tmp_path: Path) -> None:
    documents = XML.make(2, 2_000)
    variants = [XML.variant(documents[ordinal % 2], ordinal) for ordinal in range(4)]
    signed = [b"".join(segments) for segments in xades_ratio.ours().seal(variants, real)]
    root = tmp_path / "root.pem"
    root.write_bytes(local_signer().root_pem)
    reply = tmp_path / "reply"

    def judged(name: str, signed: list[bytes]) -> dict[str, int]:
        entries = [{"signedContent": base64.b64encode(one).decode()} for one in signed]
        reply.write_bytes(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"documentList": entries}).encode())
        return judge_reply(reply, documents, root, tmp_path / name, XML)

    assert set(judged("good", signed).values()) == {4}
    with pytest.raises(RuntimeError, match="'lxml': 3"):
        judged("changed", [signed[0].replace(b"EUR", b"USD", 1), *signed[1:]])
    with pytest.raises(RuntimeError, match="'originals_untouched': 3"):
        judged("longer", [signed[0] + b"\n", *signed[1:]])


def test_only_a_signature_may_be_added() -> None:
    original = xml_invoice(1, size_bytes=2_000)
    ((*segments,),) = xades_ratio.ours().seal([original], fixed)
    signed = b"".join(segments)
    assert only_signature_added(original, signed)
    assert not only_signature_added(original, original)
    assert not only_signature_added(original, signed.replace(b"\n", b"\r\n", 1))
    assert not only_signature_added(original, signed + signed)
