"""A public key infrastructure that answers over HTTP: OCSP, lists of revoked certificates, and issuers' certificates."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from harness import web_end

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MARK = b"a list of many bytes"


class Responder:
    """`root` has issued `middle`, which has issued `seal` and the responder's own certificate.

    `asked` counts requests by what was asked for. Those in `away` get no answer that counts, with the header Retry-After if
    `retry_after` is set. Answers are of `age` ago and last for `life` from now. As long as `further_responders` lasts, each
    answer is by a new responder, about whom somebody else must be asked. It can be hostile too: it hangs, redirects, drips
    bytes, or sends an endless list of MARKs (`list_bytes` of them; `sent_bytes` says how much of it left).
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: Counter[str] = Counter()
        self.away: set[str] = set()
        self.retry_after = ""
        self.hangs = False
        self.redirects = False
        self.drips = False
        self.list_bytes = self.sent_bytes = 0
        self.revoked: set[int] = set()
        self.unknown: set[int] = set()
        self.life: timedelta | None = DAY
        self.age = timedelta()
        self.crl_entries = 0
        self.has_nocheck = True
        self.says_length = True  # of lists
        self.further_responders = 0
        self.further: dict[int, x509.Certificate] = {}
        self.root, self.root_key = self.issue("Root", None, places="")
        self.middle, self.middle_key = self.issue("Middle", (self.root, self.root_key), places="crl", authority=True)
        self.seal, self.seal_key = self.issue("Seal", (self.middle, self.middle_key))
        self.own, self.own_key = self.issue(
            "Responder", (self.middle, self.middle_key), places="", purpose=ExtendedKeyUsageOID.OCSP_SIGNING
        )

    def issue(
        self,
        name: str,
        by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
        *,
        places: str = "ocsp crl issuer",
        authority: bool = False,
        purpose: x509.ObjectIdentifier | None = None,
        address: str = "",
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A certificate that names the given places."""
        key, now, address = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC), address or self.address
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = by[0].subject if by else subject
        made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - DAY).not_valid_after(now + 9 * DAY)
        is_authority = authority or by is None
        made = made.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        issuer_name = str(issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        access = []
        if "ocsp" in places:
            where = x509.UniformResourceIdentifier(f"{address}/ocsp")
            access.append(x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where))
        if "issuer" in places:
            where = x509.UniformResourceIdentifier(f"{address}/{issuer_name}.cer")
            access.append(x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where))
        if access:
            made = made.add_extension(x509.AuthorityInformationAccess(access), critical=False)
        if "crl" in places:
            where = x509.UniformResourceIdentifier(f"{address}/{issuer_name}.crl")
            point = x509.DistributionPoint([where], None, None, None)
            made = made.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        if purpose is not None:
            made = made.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            if purpose == ExtendedKeyUsageOID.OCSP_SIGNING and self.has_nocheck:
                made = made.add_extension(x509.OCSPNoCheck(), critical=False)
        return made.sign(by[1] if by else key, hashes.SHA256()), key

    @property
    def chain(self) -> tuple[bytes, ...]:
        return tuple(one.public_bytes(Encoding.DER) for one in (self.seal, self.middle))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        self.asked[name] += 1
        if name.rpartition(".")[2] in self.away:
            return web.Response(status=503, headers={"Retry-After": self.retry_after} if self.retry_after else {})
        if self.hangs:
            await asyncio.Event().wait()
        if self.drips:
            return await self.drip(request)
        if self.list_bytes and name.endswith(".crl"):
            return await self.send_list(request)
        if self.redirects:
            raise web.HTTPFound(f"/elsewhere/{name}")
        if name == "ocsp":
            serial = ocsp.load_der_ocsp_request(await request.read()).serial_number
            return web.Response(body=self.ocsp(serial), content_type="application/ocsp-response")
        if name.endswith(".crl"):
            reply = web.Response(body=self.crl(name.removesuffix(".crl")), content_type="application/pkix-crl")
            if not self.says_length:
                reply.enable_chunked_encoding()
            return reply
        if name.endswith(".cer"):
            found = {"Root": self.root, "Middle": self.middle}[name.removesuffix(".cer")]
            return web.Response(body=found.public_bytes(Encoding.DER), content_type="application/pkix-cert")
        return web.Response(status=404)

    async def drip(self, request: web.Request) -> web.StreamResponse:
        """A byte now and then, for ever: no pause is long enough to be noticed."""
        reply = web.StreamResponse(headers={"Content-Type": "application/ocsp-response"})
        await reply.prepare(request)
        while True:
            await reply.write(b"0")
            await asyncio.sleep(0.02)

    async def send_list(self, request: web.Request) -> web.StreamResponse:
        """`list_bytes` that begin as a list of that length does. How many there will be is not said before."""
        reply = web.StreamResponse(headers={"Content-Type": "application/pkix-crl"})
        await reply.prepare(request)
        piece = b"\x30\x84" + self.list_bytes.to_bytes(4, "big") + MARK
        with suppress(ConnectionError):  # whoever asked has had enough
            while self.sent_bytes < self.list_bytes:
                await reply.write(piece)
                self.sent_bytes += len(piece)
                piece = MARK * 4096
        return reply

    def ocsp(self, serial: int) -> bytes:
        status, now = ocsp.OCSPCertStatus.GOOD, datetime.now(UTC)
        if serial in self.revoked:
            status = ocsp.OCSPCertStatus.REVOKED
        if serial in self.unknown:
            status = ocsp.OCSPCertStatus.UNKNOWN
        by, by_key = self.own, self.own_key
        if self.further_responders > 0:
            self.further_responders -= 1
            by, by_key = self.further_one()
        revoked_at = now - HOUR if status is ocsp.OCSPCertStatus.REVOKED else None
        made = ocsp.OCSPResponseBuilder().add_response(
            {self.seal.serial_number: self.seal, self.own.serial_number: self.own, **self.further}[serial],
            self.middle,
            hashes.SHA1(),
            status,
            now - self.age,
            None if self.life is None else now + self.life,
            revoked_at,
            None,
        )
        made = made.responder_id(ocsp.OCSPResponderEncoding.HASH, by).certificates([by])
        return made.sign(by_key, hashes.SHA256()).public_bytes(Encoding.DER)

    def further_one(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A new responder, about whose certificate somebody can be asked."""
        name, has_nocheck = f"Responder {len(self.further)}", self.has_nocheck
        self.has_nocheck = False
        issuer = (self.middle, self.middle_key)
        made, key = self.issue(name, issuer, places="ocsp", purpose=ExtendedKeyUsageOID.OCSP_SIGNING)
        self.has_nocheck = has_nocheck
        self.further[made.serial_number] = made
        return made, key

    def crl(self, issuer: str) -> bytes:
        certificate, key = (self.root, self.root_key) if issuer == "Root" else (self.middle, self.middle_key)
        now = datetime.now(UTC)
        made = x509.CertificateRevocationListBuilder(certificate.subject, now - self.age, now + (self.life or DAY))
        for serial in [*self.revoked, *range(1, self.crl_entries + 1)]:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - HOUR)
            made = made.add_revoked_certificate(entry.build())
        return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@asynccontextmanager
async def responding() -> AsyncIterator[Responder]:
    """A responder on loopback."""
    holder: list[Responder] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        return await holder[0].answer(request)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    holder.append(Responder(f"http://127.0.0.1:{runner.addresses[0][1]}"))
    try:
        yield holder[0]
    finally:
        await web_end.end(runner)
