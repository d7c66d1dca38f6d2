"""Levels LT and LTA of PDF, XML and CMS through the real parts, over the sandbox: its signatures, time stamps, OCSP answers and
lists."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asn1crypto import pem
from cryptography import x509
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.validators import judging, pdfsig_verify
from harness.validators.xml import xmlsec1_verify
from harness.waiting import eventually
from lxml import etree
from tests.support.long_term import cades_level, xades_level
from tests.support.parts import Connect, Parts, running_parts
from tests.support.pdf_levels import pdf_level
from tests.support.xml_documents import INVOICE

from batchseal.errors import MaterialUnavailable
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.settings.client_services import SANDBOX_SERVICE, ClientServices
from batchseal.settings.load import Settings
from batchseal.signature import Level, SignatureDefaults, SignatureOptions
from batchseal.signer.pace import Pace
from batchseal.store.revocation_answers import RevocationAnswers
from batchseal.system.backoff import Backoff
from batchseal.upstream.certification_path import CertificationPaths
from batchseal.upstream.inquiry import Inquiry
from batchseal.upstream.remote import RemoteUpstream
from batchseal.upstream.revocation import Revocation
from batchseal.upstream.transport import Route
from batchseal.upstream.trust import Roots

CALLER = Caller(SANDBOX_SERVICE)
XML, FILE, PDF = INVOICE.encode(), bytes(range(256)) * 300, invoice(1, size_bytes=20_000)
CONTENTS = {"XAdES": (XML, "text/xml"), "CAdES": (FILE, "x/y"), "PAdES": (PDF, "application/pdf")}
CERTIFICATE = "{http://www.w3.org/2000/09/xmldsig#}X509Certificate"


@pytest.fixture(scope="module", params=["p256", "rsa2048"])
def module_sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    with running_sandbox(folder, f"--credential={request.param}", "--status-seconds=600") as running:
        yield running


@pytest.fixture
def sandbox(module_sandbox: Sandbox) -> Sandbox:
    """With nothing revoked."""
    module_sandbox.revoke()
    return module_sandbox


class Door(Inquiry):
    """Asks the sandbox, unless it is closed: then it is as if nobody answers."""

    is_closed = False

    async def ocsp(self, address: str, request: bytes) -> bytes:
        return b"" if self.is_closed else await super().ocsp(address, request)

    async def file(self, address: str, max_bytes: int, book: Any = None) -> bytes:
        if self.is_closed:
            raise MaterialUnavailable("nobody answers")
        return await super().file(address, max_bytes)


@dataclass
class Running:
    parts: Parts
    revocation: Revocation
    door: Door

    async def register(self, reference: str, documents: list[dict[str, Any]], mode: Mode = Mode.ASYNC) -> int:
        data = json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        options: dict[str, Any] = {"form": "json", "media_type": "application/json", "body_bytes": len(data)}
        return (await self.parts.service.receive(CALLER, mode, chunks=chunks(), **options)).id

    async def finished(self, operation: int) -> tuple[Any, list[Any]]:
        assert await self.parts.service.wait(operation, 120)
        row, rows = await self.parts.service.finished_operation(CALLER, operation_id=operation)
        return row, [one async for one in self.parts.service.deliver(row, rows, encoding="raw")]

    async def revoke_signer(self, sandbox: Sandbox) -> None:
        chain = (await self.parts.upstream.credential(CALLER)).chain
        await asyncio.to_thread(sandbox.revoke, f"{x509.load_der_x509_certificate(chain[0]).serial_number:X}")

    async def signed(
        self, reference: str, documents: list[dict[str, Any]], mode: Mode = Mode.ASYNC
    ) -> tuple[Any, list[Any]]:
        return await self.finished(await self.register(reference, documents, mode))


async def root_of(sandbox: Sandbox) -> bytes:
    """The sandbox's root in DER."""
    return bytes(pem.unarmor(await asyncio.to_thread(sandbox.root.read_bytes))[2])


async def given(sandbox: Sandbox) -> int:
    """How many signatures the sandbox has given."""
    return sum((await asyncio.to_thread(sandbox.status_requests))["signatures"].values())


def settings_of(sandbox: Sandbox, **more: Any) -> Settings:
    return Settings(
        service_domain=sandbox.address,
        timestamp_urls=f"{sandbox.address}/tsa",
        timestamp_roots=str(sandbox.root),
        signer_roots=str(sandbox.root),
        revocation_private_hosts="127.0.0.1",
        **more,
    )


@asynccontextmanager
async def running(
    connect_store: Connect, sandbox: Sandbox, folder: Path, level: Level, *, detached: bool = False, **settings: Any
) -> AsyncIterator[Running]:
    instance, door = uuid4(), Door(Route(), ["127.0.0.1"])
    answers = RevocationAnswers((await connect_store(instance)).database)
    paths = CertificationPaths(lambda: [Roots(str(sandbox.root))], door)
    revocation = Revocation(door, paths, answers, failed_seconds=0.2)
    upstream = RemoteUpstream(settings_of(sandbox), ClientServices.load(sandbox.services), revocation=revocation)
    defaults = SignatureDefaults(level, SignatureOptions(detached=detached))
    try:
        async with running_parts(
            connect_store,
            upstream,
            folder,
            instance=instance,
            materials=revocation,
            pace=Pace(between_tries=Backoff(0.1, 0.1)),
            check_revocation=bool(settings.get("check_revocation")),
            signature_defaults=lambda client_service: defaults,
        ) as parts:
            yield Running(parts, revocation, door)
    finally:
        await upstream.close()


def entry(name: str, kind: str, **info: Any) -> dict[str, Any]:
    content, media_type = CONTENTS[kind]
    return {
        "documentRequest": {
            "externalReference": name,
            "name": name,
            "contentType": media_type,
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": kind, **info},
    }


@pytest.mark.product
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
async def test_every_document_reaches_its_level(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path, level: Level, detached: bool
) -> None:
    before = await asyncio.to_thread(sandbox.status_requests)
    async with running(connect_store, sandbox, tmp_path, level, detached=detached) as service:
        documents = [entry(f"{n}.xml", "XAdES") for n in range(40)] + [entry(f"{n}.bin", "CAdES") for n in range(10)]
        row, results = await service.signed("all", documents)
        assert row.status is OperationStatus.EXECUTED, [one.row.cause for one in results]
        for result in results:
            whole, is_xml = b"".join(result.segments), result.row.name.endswith(".xml")
            assert result.row.level is level
            if is_xml:
                assert xades_level(whole) == level.name
                assert len(whole) == len(XML) + result.row.additional_bytes
            else:
                assert cades_level(whole, FILE) == level.name
                assert len(whole) == result.row.additional_bytes + (0 if detached else len(FILE))
        after = await asyncio.to_thread(sandbox.status_requests)
        assert all(after["ocsp"][one] - before["ocsp"].get(one, 0) <= 1 for one in after["ocsp"])
        with judging():
            first = tmp_path / "first.xml"
            first.write_bytes(b"".join(results[0].segments))
            der = etree.fromstring(first.read_bytes()).findtext(f".//{CERTIFICATE}")
            pem = tmp_path / "certificate.pem"
            pem.write_text(f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
            assert await asyncio.to_thread(xmlsec1_verify, first, pem) == ""


@pytest.mark.product
@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
async def test_pdf_reaches_its_level(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path, level: Level, mode: Mode
) -> None:
    root, before = await root_of(sandbox), await asyncio.to_thread(sandbox.status_requests)
    async with running(connect_store, sandbox, tmp_path, level) as service:
        documents = [entry(f"{n}.pdf", "PAdES", reason="end to end") for n in range(20)]
        row, results = await service.signed("pdf", documents, mode)
        assert row.status is OperationStatus.EXECUTED, [one.row.cause for one in results]
        for number, result in enumerate(results):
            whole = b"".join(result.segments)
            assert result.row.level is level
            assert len(whole) == len(PDF) + result.row.additional_bytes
            assert whole.startswith(PDF)
            if number % 10 == 0:
                assert await asyncio.to_thread(pdf_level, whole, root) == level.name
            (tmp_path / f"{number}.pdf").write_bytes(whole)
    after = await asyncio.to_thread(sandbox.status_requests)
    assert all(after["ocsp"][one] - before["ocsp"].get(one, 0) <= 1 for one in after["ocsp"])
    with judging():
        paths = [tmp_path / f"{number}.pdf" for number in range(20)]
        verdicts = await asyncio.to_thread(pdfsig_verify, paths, pem.armor("CERTIFICATE", root))
        assert all(one[0].valid and one[0].trusted for one in verdicts.values())


async def test_the_budget_counts_both_time_stamps_of_level_lta(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Of three, one is asked for to learn the room. The other two are enough for one document; the second one waits."""
    instance = uuid4()
    answers = RevocationAnswers((await connect_store(instance)).database)
    inquiry = Inquiry(Route(), ["127.0.0.1"])
    revocation = Revocation(inquiry, CertificationPaths(lambda: [Roots(str(sandbox.root))], inquiry), answers)
    budget = replace(settings_of(sandbox), timestamp_urls=f"{sandbox.address}/tsa;3/1200")
    upstream = RemoteUpstream(budget, ClientServices.load(sandbox.services), revocation=revocation)
    async with running_parts(
        connect_store,
        upstream,
        tmp_path,
        instance=instance,
        materials=revocation,
        pace=Pace(between_tries=Backoff(0.1, 0.1)),
        signature_defaults=lambda client_service: SignatureDefaults(Level.LTA),
    ) as parts:
        service = Running(parts, revocation, Door(Route(), ["127.0.0.1"]))
        row, (result,) = await service.signed("first", [entry("a.pdf", "PAdES")])
        assert row.status is OperationStatus.EXECUTED
        assert await asyncio.to_thread(pdf_level, b"".join(result.segments), await root_of(sandbox)) == "LTA"
        operation = await service.register("second", [entry("b.pdf", "PAdES")])

        async def is_waiting() -> bool:
            found = await parts.service.status_by_id(CALLER, operation)
            return found.status is OperationStatus.EXECUTION_ERROR

        await eventually(is_waiting)
        found = await parts.service.status_by_id(CALLER, operation)
        (kept,) = (await parts.store.evidence(found.id, found.created_at, [0])).values()
        assert kept.evidence is not None
        assert kept.evidence.time_stamps == ()  # the signature is kept, and no time stamp was left for it
    await upstream.close()


async def test_a_revoked_certificate_signs_nothing(connect_store: Connect, sandbox: Sandbox, tmp_path: Path) -> None:
    async with running(connect_store, sandbox, tmp_path, Level.LT) as service:
        await service.revoke_signer(sandbox)
        row, results = await service.signed(
            "revoked", [entry("a.xml", "XAdES"), entry("a.bin", "CAdES"), entry("a.pdf", "PAdES")]
        )
        assert row.status is OperationStatus.EXECUTION_FAILED
        for result in results:
            assert result.row.status is DocumentStatus.ERROR_SIGNING
            assert result.row.sign_error is SignError.INVALID_CERTIFICATE_SIGN_ERROR
            assert "was revoked" in result.row.cause
        assert (await service.parts.upstream.state()).numbers["batchseal_upstream_sign_calls_total"] == 0
        assert (await service.parts.upstream.state()).numbers["batchseal_certificates_revoked"] == 1


@pytest.mark.parametrize("checked", [False, True])
async def test_at_level_b_nobody_is_asked_unless_the_configuration_says_so(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path, checked: bool
) -> None:
    async with running(connect_store, sandbox, tmp_path, Level.B, check_revocation=checked) as service:
        await service.revoke_signer(sandbox)
        row, _ = await service.signed("b", [entry("a.xml", "XAdES")])
        assert row.status is (OperationStatus.EXECUTION_FAILED if checked else OperationStatus.EXECUTED)
        assert (await service.parts.upstream.state()).numbers["batchseal_revocation_requests_total"] == int(checked)


async def test_without_material_a_document_waits_and_is_signed_once(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    before = await given(sandbox)
    async with running(connect_store, sandbox, tmp_path, Level.LT) as service:
        service.door.is_closed = True
        operation = await service.register(
            "waits", [entry("a.xml", "XAdES"), entry("b.bin", "CAdES"), entry("c.pdf", "PAdES")]
        )

        async def status() -> OperationStatus:
            return (await service.parts.service.status_by_id(CALLER, operation)).status

        async def is_waiting() -> bool:
            return await status() is OperationStatus.EXECUTION_ERROR

        await eventually(is_waiting)
        service.door.is_closed = False
        row, results = await service.finished(operation)
        assert row.status is OperationStatus.EXECUTED
        xml, other, pdf = (b"".join(one.segments) for one in results)
        assert (xades_level(xml), cades_level(other, FILE)) == ("LT", "LT")
        assert await asyncio.to_thread(pdf_level, pdf, await root_of(sandbox)) == "LT"
    assert await given(sandbox) - before == 3


async def test_a_signature_that_was_made_is_kept_until_there_is_material(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The signer's certificate could be checked, the one of the time stamp authority cannot."""
    before = await given(sandbox)
    async with running(connect_store, sandbox, tmp_path, Level.LT) as service:
        credential = await service.parts.upstream.credential(CALLER)
        await service.revocation.check(credential.chain)
        service.door.is_closed = True
        operation = await service.register("kept", [entry("a.xml", "XAdES")])

        async def is_waiting() -> bool:
            found = await service.parts.service.status_by_id(CALLER, operation)
            return found.status is OperationStatus.EXECUTION_ERROR

        await eventually(is_waiting)
        service.door.is_closed = False
        assert await given(sandbox) - before == 1
        row, _ = await service.finished(operation)
        assert row.status is OperationStatus.EXECUTED
    assert await given(sandbox) - before == 1


async def test_nobody_who_is_away_stops_anything_while_the_answers_count(
    connect_store: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with running(connect_store, sandbox, tmp_path, Level.LT) as service:
        await service.signed("first", [entry("a.xml", "XAdES")])
        service.door.is_closed = True
        row, _ = await service.signed("second", [entry(f"{n}.xml", "XAdES") for n in range(20)])
        assert row.status is OperationStatus.EXECUTED
