"""A public key infrastructure that answers over HTTP: OCSP, lists of revoked certificates, and issuers' certificates."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Responder:
    """`root` has issued `middle`, which has issued `seal` and the responder's own certificate.

    `asked` counts requests by what was asked for. Those in `away` get no answer that counts, with the header Retry-After if
    `retry_after` is set. Answers are of `age` ago and last for `life` from now.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: Counter[str] = Counter()
        self.away: set[str] = set()
        self.retry_after = ""
        self.hangs = False
        self.redirects = False
        self.revoked: set[int] = set()
        self.unknown: set[int] = set()
        self.life, self.age = DAY, timedelta()
        self.crl_entries = 0
        self.has_nocheck = True
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
        if self.redirects:
            raise web.HTTPFound(f"/elsewhere/{name}")
        if name == "ocsp":
            serial = ocsp.load_der_ocsp_request(await request.read()).serial_number
            return web.Response(body=self.ocsp(serial), content_type="application/ocsp-response")
        if name.endswith(".crl"):
            return web.Response(body=self.crl(name.removesuffix(".crl")), content_type="application/pkix-crl")
        if name.endswith(".cer"):
            found = {"Root": self.root, "Middle": self.middle}[name.removesuffix(".cer")]
            return web.Response(body=found.public_bytes(Encoding.DER), content_type="application/pkix-cert")
        return web.Response(status=404)

    def ocsp(self, serial: int) -> bytes:
        status, now = ocsp.OCSPCertStatus.GOOD, datetime.now(UTC)
        if serial in self.revoked:
            status = ocsp.OCSPCertStatus.REVOKED
        if serial in self.unknown:
            status = ocsp.OCSPCertStatus.UNKNOWN
        revoked_at = now - HOUR if status is ocsp.OCSPCertStatus.REVOKED else None
        made = ocsp.OCSPResponseBuilder().add_response(
            {self.seal.serial_number: self.seal, self.own.serial_number: self.own}[serial],
            self.middle,
            hashes.SHA1(),
            status,
            now - self.age,
            now + self.life,
            revoked_at,
            None,
        )
        made = made.responder_id(ocsp.OCSPResponderEncoding.HASH, self.own).certificates([self.own])
        return made.sign(self.own_key, hashes.SHA256()).public_bytes(Encoding.DER)

    def crl(self, issuer: str) -> bytes:
        certificate, key = (self.root, self.root_key) if issuer == "Root" else (self.middle, self.middle_key)
        now = datetime.now(UTC)
        made = x509.CertificateRevocationListBuilder(certificate.subject, now - self.age, now + self.life)
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
        await runner.cleanup()
