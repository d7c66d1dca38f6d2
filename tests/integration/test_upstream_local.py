"""Keys on this machine: PKCS#12 files of OpenSSL in both of its encryptions, and a SoftHSM2 token in its process."""

import asyncio
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness.local_keys import PIN, make_pkcs12, make_token
from harness.service import descendants
from harness.tools import SOFTHSM, missing
from pyhanko.sign.validation.generic_cms import validate_sig_integrity

from batchseal.errors import ConfigurationError, CredentialUnusable, UpstreamAuthRefused
from batchseal.formats.cms import CmsTemplate
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.system.backoff import Backoff
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller("A")
DIGESTS = [hashlib.sha256(b"%d" % n).digest() for n in range(300)]
needs_softhsm = pytest.mark.skipif(bool(missing(SOFTHSM)), reason=f"not installed: {missing(SOFTHSM)}")


def connect(
    folder: Path, url: str, *, pin: str = PIN, pace: UpstreamPace = DEFAULT_PACE, **settings: Any
) -> RemoteUpstream:
    (folder / "pin").write_text(pin + "\n")
    path = folder / "client-services-config.json"
    path.write_text(json.dumps({"A": {"secret": "s", "pinFile": "pin"}}))
    return RemoteUpstream(Settings(upstream_url=url, temp_folder=folder, **settings), ClientServices.load(path), pace)


async def sign_all(
    upstream: RemoteUpstream, digests: list[bytes] = DIGESTS, begun: Callable[[int], None] | None = None
) -> None:
    """`begun` is called once, with the number of the first signatures that are there."""
    credential = await upstream.credential(CALLER)
    key = x509.load_der_x509_certificate(credential.chain[0]).public_key()
    signed = set[int]()
    async for part in upstream.sign(CALLER, credential, digests, request_key="k"):
        for position, value in part:
            assert isinstance(value, bytes), value
            signed.add(position)
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(value, digests[position], ec.ECDSA(Prehashed(hashes.SHA256())))
                continue
            assert isinstance(key, rsa.RSAPublicKey)
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            scheme = pss if credential.scheme == "pss" else padding.PKCS1v15()
            key.verify(value, digests[position], scheme, Prehashed(hashes.SHA256()))
        if begun is not None:
            begun(len(signed))
            begun = None
    assert len(signed) == len(digests)


def token_processes() -> list[int]:
    """The processes in which this one has the libraries of tokens run."""
    return [pid for pid, command in descendants(os.getpid()) if "pkcs11_process" in command]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("kind", "pss"), [("p256", False), ("rsa2048", False), ("rsa2048", True)])
async def test_pkcs12(tmp_path: Path, legacy: bool, kind: str, pss: bool) -> None:
    path, _ = make_pkcs12(tmp_path, kind, legacy=legacy)
    upstream = connect(tmp_path, f"pkcs12:{path}", upstream_pss=pss)
    await sign_all(upstream)
    assert len((await upstream.credential(CALLER)).chain) == 3
    assert "not qualified" in (await upstream.service.describe()).specification
    assert await upstream.health() is None
    await upstream.close()


async def test_a_pss_signature_is_one_for_others_too(tmp_path: Path) -> None:
    path, _ = make_pkcs12(tmp_path, "rsa2048", legacy=False)
    upstream = connect(tmp_path, f"pkcs12:{path}", upstream_pss=True)
    template = CmsTemplate(await upstream.credential(CALLER))
    digest = hashlib.sha256(b"document").digest()
    wanted = [template.attributes_digest(digest)]
    parts = [p async for p in upstream.sign(CALLER, template.credential, wanted, request_key="k")]
    signed = cms.ContentInfo.load(template.signed_data(digest, parts[0][0][1]))["content"]  # type: ignore[arg-type]
    (signer,) = signed["signer_infos"]
    certificate = next(c.chosen for c in signed["certificates"] if c.chosen.dump() == template.credential.chain[0])
    assert validate_sig_integrity(signer, certificate, "data", digest) == (True, True)
    await upstream.close()


async def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    path, _ = make_pkcs12(tmp_path, "p256", legacy=False)
    for url, pin, what in [
        (f"pkcs12:{path}", "wrong", "password"),
        (f"pkcs12:{tmp_path}/nothing.p12", PIN, "nothing.p12"),
        (f"pkcs12:{tmp_path}/key.pem", PIN, "PKCS#12"),
    ]:
        upstream = connect(tmp_path, url, pin=pin)
        with pytest.raises(CredentialUnusable, match=what):
            await upstream.credential(CALLER)
        await upstream.close()
    upstream = connect(tmp_path, f"pkcs12:{path}")
    with pytest.raises(UpstreamAuthRefused):
        await upstream.credential(Caller("A", "a foreign token"))
    assert await upstream.probe("a.foreign.token") is None
    await upstream.close()
    for url in ("pkcs11:token=t1", "pkcs13:x", "file:///x"):
        with pytest.raises(ConfigurationError):
            connect(tmp_path, url)


@needs_softhsm
@pytest.mark.parametrize(("kind", "pss"), [("p256", False), ("rsa2048", False), ("rsa2048", True)])
async def test_softhsm(tmp_path: Path, kind: str, pss: bool) -> None:
    url, _ = make_token(tmp_path, kind)
    upstream = connect(tmp_path, url, upstream_pss=pss)
    await sign_all(upstream)
    await upstream.close()


@needs_softhsm
async def test_a_dead_token_process_is_started_again(tmp_path: Path) -> None:
    others = set(token_processes())  # of tests before, which may be about to end
    url, _ = make_token(tmp_path, "rsa2048")
    # Of its calls no more than four are under way, so that most digests are not signed when the first call has been answered.
    upstream = connect(tmp_path, url, pace=UpstreamPace(repeating=Backoff(0.05, 20.0, 3.0), call_digests=100))
    await upstream.credential(CALLER)
    killed = set[int]()

    def kill(signed: int) -> None:
        assert signed < 1500
        killed.update(set(token_processes()) - others)
        (process,) = killed
        os.kill(process, signal.SIGKILL)

    await sign_all(upstream, [hashlib.sha256(b"%d" % n).digest() for n in range(1500)], kill)
    assert set(token_processes()) - others - killed
    await upstream.close()


@needs_softhsm
async def test_several_processes_open_one_token(tmp_path: Path) -> None:
    url, _ = make_token(tmp_path, "p256")
    upstreams = [connect(tmp_path, url) for _ in range(6)]
    began = time.monotonic()
    await asyncio.gather(*(sign_all(upstream, DIGESTS[:50]) for upstream in upstreams))
    assert time.monotonic() - began < 120
    for upstream in upstreams:
        await upstream.close()


@needs_softhsm
async def test_a_wrong_pin_is_not_tried_again(tmp_path: Path) -> None:
    url, _ = make_token(tmp_path, "p256")
    upstream = connect(tmp_path, url, pin="9999")
    with pytest.raises(CredentialUnusable, match="Pin"):
        await upstream.credential(CALLER)
    await upstream.close()
