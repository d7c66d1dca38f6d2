"""CSC v2: detecting the version, the asynchronous mode, and each deviation that real servers are known for."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness.misbehaving import service, sign_in_runs
from tests.support.csc2 import Csc2

from batchseal.errors import UpstreamError, UpstreamQuotaGone
from batchseal.operation import Caller
from batchseal.system.backoff import Backoff
from batchseal.upstream.grants import MARGIN_SECONDS
from batchseal.upstream.pace import UpstreamPace

CALLER = Caller("A")
DIGESTS = [hashlib.sha256(b"%d" % n).digest() for n in range(55)]


PACE = UpstreamPace(repeating=Backoff(0.01, 20.0, 3.0), polling=Backoff(0.01, 2.0, 1.5))


async def sign_all(
    double: Csc2, folder: Path, pace: UpstreamPace = PACE, **settings: Any
) -> list[bytes | UpstreamError]:
    (folder / "pin").write_text("1234\n")
    async with service(folder, double, upstream_pace=pace, **settings) as upstream:
        path = folder / "client-services-config.json"
        path.write_text('{"A": {"secret": "s", "pinFile": "pin"}}')
        results = await sign_in_runs(upstream, CALLER, DIGESTS)
        info = await upstream.service.describe()
        assert info.asynchronous is (double.mode == "A")
        assert info.algorithms == {"1.2.840.10045.4.3.2"}
    key = x509.load_der_x509_certificate(double.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for digest, value in zip(DIGESTS, results, strict=True):
        if isinstance(value, bytes):
            key.verify(value, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    return results


@pytest.mark.parametrize("mode", ["S", "A"])
@pytest.mark.parametrize("protocol", ["auto", "csc2"])
async def test_version_2(tmp_path: Path, mode: str, protocol: str) -> None:
    double = Csc2(mode=mode)
    results = await sign_all(double, tmp_path, upstream_protocol=protocol)
    assert all(isinstance(value, bytes) for value in results)
    assert double.calls["signHash"] == 6
    assert ("signPolling" in double.calls) is (mode == "A")


@pytest.mark.parametrize("deviation", ["always-async", "sorted", "urlencoded", "plain-text", "session"])
async def test_deviations(tmp_path: Path, deviation: str) -> None:
    double = Csc2(deviation)
    digests = "urlencoded" if deviation == "urlencoded" else "base64"
    results = await sign_all(double, tmp_path, upstream_digests=digests)
    assert all(isinstance(value, bytes) for value in results)
    assert double.calls["signHash"] == (7 if deviation == "session" else 6)


async def test_all_deviations_at_once(tmp_path: Path) -> None:
    double = Csc2("always-async", "sorted", "urlencoded", "plain-text", "session")
    results = await sign_all(double, tmp_path, upstream_digests="urlencoded")
    assert all(isinstance(value, bytes) for value in results)


async def test_a_grant_for_many_calls_is_extended(tmp_path: Path) -> None:
    double = Csc2("extend")
    results = await sign_all(double, tmp_path, replace(PACE, call_digests=5, calls=1))
    assert all(isinstance(value, bytes) for value in results)
    assert double.calls["signHash"] == 11
    assert double.calls["authorize"] <= 2
    assert double.calls["extendTransaction"] >= 9
    assert MARGIN_SECONDS < 600


async def test_a_quota_that_is_gone_is_no_rate(tmp_path: Path) -> None:
    double = Csc2("quota")
    results = await sign_all(double, tmp_path)
    gone = [value for value in results if isinstance(value, UpstreamError)]
    assert {type(value) for value in gone} == {UpstreamQuotaGone}
    assert len(gone) == 35
    assert max(double.sent.values()) == 1


async def test_mode_a_that_is_advertised_and_refused(tmp_path: Path) -> None:
    double = Csc2("no-mode-a", mode="A")
    (tmp_path / "pin").write_text("1234")
    results = await sign_all_but_mode(double, tmp_path)
    assert all(isinstance(value, bytes) for value in results)


async def sign_all_but_mode(double: Csc2, folder: Path) -> list[bytes | UpstreamError]:
    async with service(folder, double, upstream_pace=PACE) as upstream:
        (folder / "client-services-config.json").write_text('{"A": {"secret": "s", "pinFile": "pin"}}')
        return await sign_in_runs(upstream, CALLER, DIGESTS)
