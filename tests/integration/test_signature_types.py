"""XAdES, CAdES and PAdES on their way through the real parts, with time stamps, and with what a client service has set."""

import asyncio
import base64
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asn1crypto import cms, x509
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.validators import judging, pdfsig_verify, pyhanko_verify
from harness.validators.xml import jdk_verify, xmlsec1_verify
from lxml import etree
from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
from pyhanko_certvalidator import ValidationContext
from tests.support.parts import Connect, Parts, running_parts
from tests.support.xml_documents import INVOICE, encoded

from batchseal.errors import ValueNotAllowed
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.settings.client_services import SANDBOX_SERVICE, ClientServices
from batchseal.settings.load import Settings
from batchseal.signature import Level, SignatureDefaults, SignatureOptions
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller(SANDBOX_SERVICE)
DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
MEDIA_TYPES = {".pdf": "application/pdf", ".xml": "text/xml", ".zip": "application/zip; version=2", ".bin": "x/y"}


@pytest.fixture(scope="module", params=["p256", "rsa2048"])
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), f"--credential={request.param}") as running:
        yield running


def settings_of(sandbox: Sandbox) -> Settings:
    """With its time stamp authority."""
    return Settings(
        service_domain=sandbox.address, timestamp_urls=f"{sandbox.address}/tsa", timestamp_roots=str(sandbox.root)
    )


@pytest.fixture
async def running(sandbox: Sandbox, connect_store: Connect, tmp_path: Path) -> AsyncIterator[Parts]:
    upstream = RemoteUpstream(settings_of(sandbox), ClientServices.load(sandbox.services))
    async with running_parts(connect_store, upstream, tmp_path, instance=uuid4()) as parts:
        yield parts
    await upstream.close()


def entry(name: str, content: bytes, kind: str = "XAdES", **info: Any) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": name,
            "name": name,
            "contentType": MEDIA_TYPES[Path(name).suffix],
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": kind, "reason": "Approved", "location": "Oeiras", **info},
    }


async def signed(running: Parts, reference: str, documents: list[dict[str, Any]]) -> tuple[Any, list[Any]]:
    """The finished operation, and its documents as they are delivered."""
    request = {"externalReference": reference, "description": "test", "documents": documents}
    data = json.dumps(request).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    options: dict[str, Any] = {"form": "json", "media_type": "application/json", "body_bytes": len(data)}
    registered = await running.service.receive(CALLER, Mode.ASYNC, chunks=chunks(), **options)
    assert await running.service.wait(registered.id, 120)
    row, rows = await running.service.finished_operation(CALLER, operation_id=registered.id)
    return row, [document async for document in running.service.deliver(row, rows, encoding="raw")]


async def check_time_stamp(content: bytes, sandbox: Sandbox) -> None:
    """pyHanko on the token, about the canonical SignatureValue element as lxml makes it."""
    tree = etree.fromstring(content)
    value = tree.find(f".//{DS}SignatureValue")
    imprint = etree.tostring(value, method="c14n", exclusive=True, with_tail=False)
    token = base64.b64decode(tree.findtext(f".//{XADES}EncapsulatedTimeStamp"))
    trust = [x509.Certificate.load(sandbox.root_der)]

    def expected(algorithm: str) -> bytes:
        return hashlib.new(algorithm, imprint).digest()

    status = await validate_tst_signed_data(
        cms.ContentInfo.load(token)["content"], ValidationContext(trust_roots=trust, allow_fetching=False), expected
    )
    assert (status["intact"], status["valid"]) == (True, True)


async def test_a_batch_of_pdf_and_xml(running: Parts, sandbox: Sandbox, tmp_path: Path) -> None:
    xml, pdf = INVOICE.encode(), invoice(1, size_bytes=20_000)
    advanced = {"signatureLocation": "ext:ExtensionContent", "signatureTransform": "XPATH2_FILTER"}
    documents = [
        entry("plain.xml", xml),
        entry("a.pdf", pdf, "PAdES"),
        entry("filter.xml", xml, advancedSignatureInfo=advanced),
        entry("stamped.xml", xml, applyTimestamp=True),
        entry("utf-16.xml", encoded(INVOICE, "UTF-16"), applyTimestamp=True),
    ]
    row, results = await signed(running, "both", documents)
    assert row.status is OperationStatus.EXECUTED
    certificate = tmp_path / "certificate.pem"
    files = []
    for result, asked in zip(results, documents, strict=True):
        content = b"".join(result.segments)
        original = base64.b64decode(asked["documentRequest"]["base64Content"])
        assert len(content) == len(original) + result.row.additional_bytes
        if result.row.name.endswith(".pdf"):
            continue
        tree = etree.fromstring(content)
        der = tree.findtext(f".//{DS}X509Certificate")
        certificate.write_text(f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
        files.append(tmp_path / result.row.name)
        files[-1].write_bytes(content)
        has_stamp = tree.find(f".//{XADES}SignatureTimeStamp") is not None
        assert has_stamp is bool(asked["signatureInfo"].get("applyTimestamp"))
        if has_stamp:
            await check_time_stamp(content, sandbox)
    with judging():
        verdicts = await asyncio.to_thread(jdk_verify, [(path, certificate) for path in files])
        assert verdicts == {path: [True] for path in files}
        for path in files:
            assert await asyncio.to_thread(xmlsec1_verify, path, certificate) == ""


@pytest.mark.parametrize("detached", [False, True])
async def test_cades_of_every_type(connect_store: Connect, sandbox: Sandbox, tmp_path: Path, detached: bool) -> None:
    """The row keeps the media type as it was sent, and the length is what comes back, whatever the signature value is like."""
    upstream = RemoteUpstream(settings_of(sandbox), ClientServices.load(sandbox.services))
    defaults = SignatureDefaults(Level.B, SignatureOptions(detached=detached))
    contents = {
        "a.zip": b"PK\x03\x04 not really",
        "b.bin": bytes(range(256)) * 300,
        "c.pdf": invoice(1, size_bytes=20_000),
        "d.xml": INVOICE.encode(),
    }
    root = tmp_path / "root.pem"
    root.write_bytes(await asyncio.to_thread(sandbox.root.read_bytes))
    async with running_parts(
        connect_store, upstream, tmp_path, instance=uuid4(), signature_defaults=lambda client_service: defaults
    ) as running:
        documents = [
            entry(name, content, "CAdES", applyTimestamp=stamped)
            for stamped in (False, True)
            for name, content in contents.items()
        ]
        row, results = await signed(running, "cades", documents)
        assert row.status is OperationStatus.EXECUTED
        assert [r.row.media_type for r in results[:4]] == ["application/zip", "x/y", "application/pdf", "text/xml"]
        for number, (result, content) in enumerate(zip(results, [*contents.values()] * 2, strict=True)):
            whole = b"".join(result.segments)
            assert (result.suffix, result.media_type) == (
                (".p7s", "application/pkcs7-signature") if detached else (".p7m", "application/pkcs7-mime")
            )
            assert len(whole) == result.row.additional_bytes + (0 if detached else len(content))
            taken_out = await asyncio.to_thread(openssl_cades, tmp_path, whole, content if detached else None)
            assert taken_out == content
            (signer,) = cms.ContentInfo.load(whole)["content"]["signer_infos"]
            assert (signer["unsigned_attrs"].native is not None) is (number >= 4)
    await upstream.close()


def openssl_cades(folder: Path, whole: bytes, content: bytes | None) -> bytes:
    """What OpenSSL takes out of the CMS. Fails where it finds a fault. The root is in the folder."""
    (folder / "signed").write_bytes(whole)
    command = ["openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", "signed"]
    command += ["-CAfile", "root.pem", "-purpose", "any", "-out", "out"]
    if content is not None:
        (folder / "content").write_bytes(content)
        command += ["-content", "content"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (folder / "out").read_bytes()


async def test_a_media_type_that_is_none_and_types_that_only_cades_signs(running: Parts) -> None:
    wrong = entry("a.bin", b"x", "CAdES")
    wrong["documentRequest"]["contentType"] = "not a type"
    with pytest.raises(ValueNotAllowed) as problem:
        await signed(running, "wrong", [wrong])
    assert "documents[0].documentRequest.contentType: 'not a type' is not a media type" in problem.value.cause
    for kind in ("PAdES", "XAdES"):
        with pytest.raises(ValueNotAllowed) as problem:
            await signed(running, kind, [entry("a.bin", b"x", kind)])
        assert "'x/y' is not one of application/pdf" in problem.value.cause


async def test_refused_documents_do_not_hurt_their_neighbours(running: Parts) -> None:
    xml, pdf = INVOICE.encode(), invoice(1, size_bytes=20_000)
    documents = [
        entry("good.xml", xml),
        entry("cut.xml", xml[:-40]),
        entry("laughs.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        entry("nowhere.xml", xml, advancedSignatureInfo={"signatureLocation": "Missing"}),
        entry("pdf.xml", pdf),
        entry("pdf-as-xades.pdf", pdf),
        entry("xml-as-pades.xml", xml, "PAdES"),
        entry("xml.pdf", xml, "PAdES"),
        entry("good.pdf", pdf, "PAdES", advancedSignatureInfo={"signatureTransform": 7}),
    ]
    row, results = await signed(running, "mixed", documents)
    assert row.status is OperationStatus.EXECUTION_FAILED
    assert [r.row.name for r in results if r.row.status is DocumentStatus.SIGNED] == ["good.xml", "good.pdf"]
    internal, configuration = SignError.NOT_SIGNABLE, SignError.CONFIGURATION_SIGN_ERROR
    refused = [r.row for r in results if r.row.status is not DocumentStatus.SIGNED]
    assert [r.sign_error for r in refused] == [
        internal,
        internal,
        *[configuration] * 1,
        internal,
        *[configuration] * 2,
        internal,
    ]
    for one in refused:
        assert one.name not in one.cause  # whoever shows the cause names the document
        assert "error" not in one.cause


async def test_a_mixed_batch_ends_as_each_document_deserves(running: Parts, sandbox: Sandbox, tmp_path: Path) -> None:
    """Good and broken ones of each type take turns in one asynchronous request. Judges that are not ours take the good ones."""
    xml, pdf, other = INVOICE.encode(), invoice(2, size_bytes=20_000), bytes(range(256)) * 300
    documents = [
        entry("good.pdf", pdf, "PAdES", applyTimestamp=True),
        entry("cut.pdf", pdf[: len(pdf) // 2], "PAdES"),
        entry("good.xml", xml, applyTimestamp=True),
        entry("cut.xml", xml[: len(xml) // 2]),
        entry("good.bin", other, "CAdES", applyTimestamp=True),
        entry("visible.bin", other, "CAdES", visibleSignatureInfo={}),
        entry("encrypted.pdf", pdf.replace(b"/Root ", b"/Encrypt<</Filter/Standard>>/Root ", 1), "PAdES"),
        entry("not-utf-8.xml", xml.replace(b"FT 2026", b"\xff\xfe")),
        entry("one-byte.bin", b"x", "CAdES"),
    ]
    row, results = await signed(running, "each as it deserves", documents)
    assert row.status is OperationStatus.EXECUTION_FAILED
    refused = {r.row.name: r.row for r in results if r.row.status is not DocumentStatus.SIGNED}
    assert {name: one.sign_error for name, one in refused.items()} == {
        "cut.pdf": SignError.NOT_SIGNABLE,
        "cut.xml": SignError.NOT_SIGNABLE,
        "visible.bin": SignError.CONFIGURATION_SIGN_ERROR,
        "encrypted.pdf": SignError.NOT_SIGNABLE,
        "not-utf-8.xml": SignError.NOT_SIGNABLE,
    }
    files = {r.row.name: tmp_path / r.row.name for r in results if r.row.name not in refused}
    for result in results:
        if result.row.name in files:
            files[result.row.name].write_bytes(b"".join(result.segments))
    (tmp_path / "root.pem").write_bytes(await asyncio.to_thread(sandbox.root.read_bytes))
    for name, content in (("good.bin", other), ("one-byte.bin", b"x")):
        assert await asyncio.to_thread(openssl_cades, tmp_path, files[name].read_bytes(), None) == content
    assert files["good.pdf"].read_bytes().startswith(pdf)
    (verdict,) = await asyncio.to_thread(pyhanko_verify, files["good.pdf"], sandbox.root_der)
    assert verdict.good and verdict.stamped, verdict
    certificate = tmp_path / "certificate.pem"
    der = etree.parse(files["good.xml"]).findtext(f".//{DS}X509Certificate")
    certificate.write_text(f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
    with judging():
        assert await asyncio.to_thread(xmlsec1_verify, files["good.xml"], certificate) == ""
        by_pdfsig = await asyncio.to_thread(pdfsig_verify, [files["good.pdf"]], sandbox.root.read_bytes())
        assert [one.good for one in by_pdfsig[files["good.pdf"]]] == [True]


async def test_a_wrong_value_is_named(running: Parts) -> None:
    documents = [entry("a.xml", b"<a/>", advancedSignatureInfo={"signatureTransform": "BASE64"})]
    with pytest.raises(ValueNotAllowed) as problem:
        await signed(running, "wrong", documents)
    assert "documents[0].signatureInfo.advancedSignatureInfo.signatureTransform: 'BASE64'" in problem.value.cause


async def test_what_a_client_service_has_set(connect_store: Connect, sandbox: Sandbox, tmp_path: Path) -> None:
    """Its level is a floor, and its location and transform stand where the request says nothing else."""
    upstream = RemoteUpstream(settings_of(sandbox), ClientServices.load(sandbox.services))
    defaults = SignatureDefaults(Level.T, SignatureOptions(location="ext:ExtensionContent", transform="XPATH"))
    async with running_parts(
        connect_store, upstream, tmp_path, instance=uuid4(), signature_defaults=lambda client_service: defaults
    ) as running:
        other = {"signatureLocation": "cbc:Note"}
        documents = [
            entry("a.xml", INVOICE.encode(), applyTimestamp=False),
            entry("b.xml", INVOICE.encode(), advancedSignatureInfo=other),
        ]
        row, results = await signed(running, "set", documents)
    await upstream.close()
    assert row.status is OperationStatus.EXECUTED
    for result, parent in zip(results, ("ExtensionContent", "Note"), strict=True):
        content = b"".join(result.segments)
        await check_time_stamp(content, sandbox)
        signature = etree.fromstring(content).find(f".//{DS}Signature")
        assert etree.QName(signature.getparent()).localname == parent
        assert b"not(ancestor-or-self::ds:Signature)" in content


async def test_a_level_that_is_not_offered_fails_the_document(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    upstream = RemoteUpstream(Settings(service_domain=sandbox.address), ClientServices.load(sandbox.services))
    for level, said in ((Level.LT, "--timestamp-urls"), (Level.T, "--timestamp-urls")):
        async with running_parts(
            connect_store,
            upstream,
            tmp_path,
            instance=uuid4(),
            signature_defaults=lambda client_service, level=level: SignatureDefaults(level),  # type: ignore[misc]
        ) as running:
            _, (refused,) = await signed(running, level.name, [entry("a.xml", INVOICE.encode())])
        assert refused.row.sign_error is SignError.CONFIGURATION_SIGN_ERROR
        assert said in refused.row.cause
    await upstream.close()


async def test_large_documents_are_sent_in_pieces(connect_store: Connect, sandbox: Sandbox, tmp_path: Path) -> None:
    """They are not in memory when they are packaged; what comes out is the same, in whole and in part."""
    upstream = RemoteUpstream(settings_of(sandbox), ClientServices.load(sandbox.services))
    (tmp_path / "root.pem").write_bytes(await asyncio.to_thread(sandbox.root.read_bytes))
    xml = INVOICE.replace("</Invoice>", f"<cbc:Note>{'x' * (6 << 20)}</cbc:Note></Invoice>").encode()
    other = bytes(range(256)) * (24 << 10)
    documents = [
        entry("large.xml", xml, advancedSignatureInfo={"signatureLocation": "ext:ExtensionContent"}),
        entry("large.zip", other, "CAdES", applyTimestamp=True),
        entry("large.bin", other, "CAdES", signaturePackaging="DETACHED"),
    ]
    async with running_parts(connect_store, upstream, tmp_path, instance=uuid4()) as running:
        row, results = await signed(running, "large", documents)
        assert row.status is OperationStatus.EXECUTED
        wholes = []
        row, rows = await running.service.finished_operation(CALLER, operation_id=row.id)
        async for result in running.service.deliver(row, rows, encoding="raw"):
            wholes.append(b"".join([piece async for piece in result.pieces()]))
            assert len(wholes[-1]) == result.total_bytes
            if len(wholes[-1]) > 1000:
                part = b"".join([piece async for piece in result.pieces(900, 1100)])
                assert part == wholes[-1][900:1100]
    await upstream.close()
    assert [(r.suffix, r.media_type) for r in results] == [
        ("", "text/xml"),
        (".p7m", "application/pkcs7-mime"),
        (".p7s", "application/pkcs7-signature"),
    ]
    added = [r.row.additional_bytes for r in results]
    assert [len(whole) for whole in wholes] == [len(xml) + added[0], len(other) + added[1], added[2]]
    certificate, path = tmp_path / "certificate.pem", tmp_path / "large.xml"
    der = etree.fromstring(wholes[0], etree.XMLParser(huge_tree=True)).findtext(f".//{DS}X509Certificate")
    certificate.write_text(f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
    path.write_bytes(wholes[0])
    with judging():
        assert await asyncio.to_thread(jdk_verify, [(path, certificate)]) == {path: [True]}
    assert await asyncio.to_thread(openssl_cades, tmp_path, wholes[1], None) == other
    assert await asyncio.to_thread(openssl_cades, tmp_path, wholes[2], other) == other
