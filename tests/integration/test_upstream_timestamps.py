"""Time stamps: independent validators accept them; failover and budgets; no token is used without verification."""

import asyncio
import datetime
import hashlib
import io
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from asn1crypto import cms, pem, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from harness import web_end
from harness.service import free_port
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from tests.support.upstream import CONTENTS, Running, running_service

from batchseal.commands.check import check_time_stamps
from batchseal.errors import ConfigurationError, TimestampFailed
from batchseal.operation import DocumentStatus, OperationStatus, SignError
from batchseal.sandbox.authority import Authority
from batchseal.sandbox.timestamps import TimestampAuthority
from batchseal.settings.load import Settings
from batchseal.signer.pace import Pace
from batchseal.store import Store
from batchseal.system.backoff import Backoff
from batchseal.upstream.pace import UpstreamPace
from batchseal.upstream.timestamps import REQUESTS_AT_ONCE, Timestamps, read_reply
from batchseal.upstream.trust import Roots

PACE = Pace(between_tries=Backoff(0.02, 60.0))


class Stamping:
    """A time stamp authority over HTTP. `fault` says how it misbehaves; "" if it does not.

    Its tokens hold one more certificate of about `bulk_bytes`, if that is not 0. It answers nobody before so many requests as
    `meeting` have been there at the same time. `peers` are the connections.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "tsa", "p256")
        self.stamper = TimestampAuthority(self.authority.timestamper())
        self.roots = str(folder / "tsa" / "root.pem")
        self.calls = 0
        self.fault = ""
        self.bulk_bytes = 0
        self.meeting = self.at_once = self.most_at_once = 0
        self.have_met = asyncio.Event()
        self.peers = set[object]()

    async def handle(self, request: web.Request) -> web.Response:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.peers.add(request.get_extra_info("peername"))
        try:
            if self.most_at_once >= self.meeting:
                self.have_met.set()
            await asyncio.wait_for(self.have_met.wait(), 60)
            return await self.answer(request)
        finally:
            self.at_once -= 1

    async def answer(self, request: web.Request) -> web.Response:
        data = await request.read()
        if self.fault == "nonce":
            other = tsp.TimeStampReq.load(data).copy()
            other["nonce"] = 7
            data = other.dump(force=True)
        if self.fault == "imprint":
            other = tsp.TimeStampReq.load(data).copy()
            other["message_imprint"]["hashed_message"] = bytes(32)
            data = other.dump(force=True)
        if self.fault == "rejection":
            data = b"no request"
        reply = self.stamper.reply(data)
        if self.bulk_bytes:
            response = tsp.TimeStampResp.load(reply)
            certificates = response["time_stamp_token"]["content"]["certificates"]
            certificates.append(cms.CertificateChoices({"certificate": bulky(self.bulk_bytes)}))
            reply = response.dump(force=True)
        if self.fault == "garbage":
            reply = b"<html>Please sign in</html>"
        if self.fault == "flipped":
            reply = reply[:-10] + bytes([reply[-10] ^ 1]) + reply[-9:]
        return web.Response(body=reply, status=503 if self.fault == "503" else 200)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_post("/tsa", self.handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/tsa"
        await web_end.end(runner)


def bulky(size: int) -> asn1_x509.Certificate:
    """A certificate of about `size` bytes."""
    key, extension = ec.generate_private_key(ec.SECP256R1()), x509.ObjectIdentifier("1.3.6.1.4.1.13762.9")
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bulky")]), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(x509.UnrecognizedExtension(extension, bytes(size)), critical=False)
    return asn1_x509.Certificate.load(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


SHORT = UpstreamPace(authority_pause_seconds=0.1)

Connect = Callable[..., Awaitable[Store]]


@asynccontextmanager
async def stamping(connect_store: Connect, folder: Path, urls: str, roots: str) -> AsyncIterator[Running]:
    instance, settings = uuid4(), {"timestamp_urls": urls, "timestamp_roots": roots}
    async with running_service(connect_store, instance, folder, pace=PACE, upstream_pace=SHORT, **settings) as running:
        yield running


def roots_of(folder: Path, *authorities: Stamping) -> str:
    path = folder / "roots.pem"
    path.write_text("".join(Path(authority.roots).read_text("ascii") for authority in authorities))
    return str(path)


def stamped_at(signed: bytes, roots: list[bytes]) -> Any:
    context = ValidationContext(trust_roots=[asn1_x509.Certificate.load(der) for der in roots], allow_fetching=False)
    (signature,) = PdfFileReader(io.BytesIO(signed)).embedded_signatures
    status = validate_pdf_signature(signature, context, context)
    assert status.bottom_line
    return status.timestamp_validity


async def test_a_batch_is_time_stamped(connect_store: Connect, tmp_path: Path) -> None:
    authority = Stamping(tmp_path)
    async with authority.serve() as address, stamping(connect_store, tmp_path, address, authority.roots) as running:
        row, results = await running.finished((await running.submit("b-t", CONTENTS, applyTimestamp=True)).id)
        assert row.status is OperationStatus.EXECUTED
        _, _, root = pem.unarmor((tmp_path / "tsa" / "root.pem").read_bytes())
        roots = [running.double.certificate, root]
        for result in results:
            signed = b"".join(result.segments)
            validity = await asyncio.to_thread(stamped_at, signed, roots)
            assert validity.valid
            assert validity.trusted
            assert len(signed) == result.row.content_bytes + result.row.additional_bytes
        path = tmp_path / "one.pdf"
        path.write_bytes(b"".join(results[0].segments))
        said = await asyncio.to_thread(subprocess.check_output, ["pdfsig", "-nocert", str(path)], text=True)
        assert "Signature is Valid." in said
        _, results = await running.finished((await running.submit("b-b", CONTENTS[:2])).id)
        assert await asyncio.to_thread(stamped_at, b"".join(results[0].segments), roots) is None
    assert authority.calls == 1 + len(CONTENTS)  # the first one was for the length of tokens alone


FAULTS = ["down", "garbage", "nonce", "imprint", "rejection", "flipped", "503", "stranger"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_delivered_as_stamped_that_is_not(connect_store: Connect, tmp_path: Path, fault: str) -> None:
    authority = Stamping(tmp_path)
    authority.fault = fault
    async with authority.serve() as address:
        urls = f"http://127.0.0.1:{free_port()}/" if fault == "down" else address
        roots = Stamping(tmp_path / "other").roots if fault == "stranger" else authority.roots
        async with stamping(connect_store, tmp_path, urls, roots) as running:
            row, results = await running.finished((await running.submit("b-t", CONTENTS[:6], applyTimestamp=True)).id)
            assert row.status is OperationStatus.EXECUTION_FAILED
            assert {r.row.status for r in results} == {DocumentStatus.ERROR_SIGNING}
            assert {r.row.sign_error for r in results} == {SignError.TIMESTAMP_SIGN_ERROR}
            assert all(not r.segments for r in results)
            assert max(running.double.sent.values()) == 1  # signed once, although the time stamp failed


async def test_another_authority_steps_in(tmp_path: Path) -> None:
    bad, good = Stamping(tmp_path / "bad"), Stamping(tmp_path / "good")
    bad.fault = "garbage"
    async with bad.serve() as first, good.serve() as second:
        stamps = Timestamps(Settings(timestamp_urls=f"{first} {second}", timestamp_roots=good.roots), SHORT)
        answers = await stamps.stamp_all([hashlib.sha256(b"%d" % n).digest() for n in range(100)])
        await stamps.close()
    assert all(isinstance(answer, bytes) for answer in answers)
    assert bad.calls <= REQUESTS_AT_ONCE * 13


async def test_a_budget_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a budget passes by moving the clock, and no other time counts."""
    ahead = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr("batchseal.upstream.timestamps.time", clock)
    small, large = Stamping(tmp_path / "small"), Stamping(tmp_path / "large")
    async with small.serve() as first, large.serve() as second:
        urls = f"{first};5/600 {second};20/6000"
        stamps = Timestamps(Settings(timestamp_urls=urls, timestamp_roots=roots_of(tmp_path, small, large)))
        answers = await stamps.stamp_all([hashlib.sha256(b"%d" % n).digest() for n in range(40)])
        failed = [answer for answer in answers if isinstance(answer, TimestampFailed)]
        assert (len(failed), small.calls, large.calls) == (15, 5, 20)
        assert not failed[0].asked
        assert 300 < (failed[0].retry_after_seconds or 0) <= 600
        ahead[0] += 200
        (answer,) = await stamps.stamp_all([hashlib.sha256(b"too early").digest()])
        assert isinstance(answer, TimestampFailed)
        ahead[0] += 401
        (answer,) = await stamps.stamp_all([hashlib.sha256(b"later").digest()])
        assert isinstance(answer, bytes)
        assert (small.calls, large.calls) == (6, 20)
        # In this period too it is five.
        answers = await stamps.stamp_all([hashlib.sha256(b"%d" % n).digest() for n in range(10)])
        assert sum(isinstance(answer, TimestampFailed) for answer in answers) == 6
        assert small.calls == 10
        await stamps.close()


async def test_what_a_budget_allows_is_told(tmp_path: Path) -> None:
    urls = "https://tsa.example/;21/1200 https://other.example/"
    settings = Settings(timestamp_urls=urls, timestamp_roots=Stamping(tmp_path).roots)
    told = await check_time_stamps(settings)
    assert (
        "https://tsa.example/ may be asked 21 times in 1200 s: 21 documents of level T or LT, or 10 of level LTA"
        in told
    )
    assert "https://other.example/ has no budget" in told
    assert "level B only" in await check_time_stamps(Settings(service_domain="https://csc.example"))
    assert "sandbox" in await check_time_stamps(Settings())


async def test_requests_run_side_by_side_over_few_connections(tmp_path: Path) -> None:
    authority = Stamping(tmp_path)
    async with authority.serve() as address:
        stamps = Timestamps(Settings(timestamp_urls=address, timestamp_roots=authority.roots))
        await stamps.stamp_all([hashlib.sha256(b"warm").digest()])
        authority.meeting = REQUESTS_AT_ONCE
        authority.have_met.clear()
        assert all(
            isinstance(a, bytes)
            for a in await stamps.stamp_all([hashlib.sha256(b"%d" % n).digest() for n in range(200)])
        )
        assert authority.most_at_once == REQUESTS_AT_ONCE >= len(authority.peers)
        await stamps.close()


@pytest.mark.parametrize("urls", ["ftp://tsa.example", "https://tsa.example;20", "https://tsa.example;a/b"])
def test_what_is_no_authority(urls: str) -> None:
    with pytest.raises(ConfigurationError):
        Timestamps(Settings(timestamp_urls=urls))


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x03\x02\x01\x00", b"A" * 1000])
def test_replies_that_are_none(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(TimestampFailed):
        read_reply(data, bytes(32), 1, Roots(Stamping(tmp_path).roots))


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: Any = None, *, ca: bool, usage: bool = True, days: int = 1
) -> x509.Certificate:
    issuer_name, issuer_key = issuer or (name, key)
    now = datetime.datetime.now(datetime.UTC)
    named, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (issuer_name, name))
    builder = x509.CertificateBuilder(
        named,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - datetime.timedelta(days=9),
        now + datetime.timedelta(days=days),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if ca and not usage:
        only_crl = [n == 6 for n in range(9)]
        builder = builder.add_extension(x509.KeyUsage(*only_crl), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.mark.parametrize("way", ["whole", "pinned", "gap", "no authority", "not for certificates", "ended"])
def test_which_certificates_are_trusted(tmp_path: Path, way: str) -> None:
    root_key, between_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate("root", root_key, ca=True)
    between = certificate(
        "between",
        between_key,
        ("root", root_key),
        ca=way != "no authority",
        usage=way != "not for certificates",
        days=-1 if way == "ended" else 1,
    )
    signer = certificate("signer", key, ("between", between_key), ca=False)
    path = tmp_path / "roots.pem"
    path.write_bytes((signer if way == "pinned" else root).public_bytes(serialization.Encoding.PEM))
    others = [] if way in ("gap", "pinned") else [between, root]
    found = Roots(str(path)).path(signer, others, datetime.datetime.now(datetime.UTC))
    assert (found is not None) == (way in ("whole", "pinned"))


def test_roots_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="timestamp-roots"):
        Timestamps(Settings(timestamp_urls="https://tsa.example/", timestamp_roots=str(tmp_path / "none.pem")))
