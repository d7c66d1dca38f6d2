"""Faults of the signing service: each kind alone, and all kinds mixed, over real sockets."""

import asyncio
import hashlib
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness.misbehaving import KINDS, Misbehaving, make_signer, service, sign_in_runs
from harness.waiting import eventually

from batchseal.errors import (
    CertificateRenewed,
    SignatureMissing,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamError,
    UpstreamPermanent,
    UpstreamQuotaGone,
    UpstreamTransient,
    UpstreamUnavailable,
)
from batchseal.operation import Caller
from batchseal.system.backoff import Backoff
from batchseal.upstream.pace import UpstreamPace

CALLER = Caller("A")
DIGESTS = [hashlib.sha256(b"%d" % n).digest() for n in range(20)]


PACE = UpstreamPace(repeating=Backoff(0.01, 20.0, 3.0))


def short(folder, double, pace=PACE, **settings):
    """The upstream over `double`, with short pauses."""
    double.drip_seconds = 0.2
    return service(folder, double, upstream_pace=pace, **settings)


async def sign_all(upstream, count):
    """Signs `count` digests, and verifies the signatures with code that is not part of the upstream."""
    digests = [hashlib.sha256(b"%d" % n).digest() for n in range(count)]
    certificate: Any = x509.load_der_x509_certificate((await upstream.credential(CALLER)).chain[0])
    results = await sign_in_runs(upstream, CALLER, digests, upstream.tries)
    for value, digest in zip(results, digests, strict=True):
        if not isinstance(value, UpstreamError):
            certificate.public_key().verify(value, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    return results


@pytest.mark.parametrize("fault", KINDS)
async def test_each_kind_on_every_fifth_call(tmp_path, fault):
    double = Misbehaving()
    double.fault = lambda path, number: fault if path == "signHash" and number % 5 == 2 else ""
    # Where a fault does not need it, a time-out would only be that of a busy machine.
    waits = {"upstream_timeout": 2} if fault in ("timeout", "drip") else {}
    async with short(tmp_path, double, **waits) as upstream:
        results = await sign_all(upstream, 100)
    assert all(isinstance(value, bytes) for value in results)
    assert 10 <= double.calls["signHash"] <= 15 and max(double.sent.values()) <= 5


@pytest.mark.parametrize("seed", range(5))
async def test_all_kinds_mixed_on_all_calls(tmp_path, seed):
    double, chance = Misbehaving(), random.Random(seed)
    kinds = [kind for kind in KINDS if kind != "drip"]
    double.fault = lambda path, number: chance.choice(kinds) if chance.random() < 0.2 else ""
    async with short(tmp_path, double) as upstream:
        for _ in range(5):  # the credential must be read first, which may fail too
            try:
                await upstream.credential(CALLER)
                break
            except UpstreamError:
                continue
        results = await sign_all(upstream, 300)
    # A document that was in five failed calls is given up with an error, and so are the others of its fifth call.
    assert sum(isinstance(value, bytes) for value in results) >= 290 and max(double.sent.values()) <= 5


@pytest.mark.parametrize(
    ("fault", "error", "calls"),
    [("wrong", SignatureMissing, 2), ("500", UpstreamTransient, 2), ("401", UpstreamAuthExpired, 2),
     ("404", UpstreamPermanent, 1), ("403", UpstreamAuthRefused, 1), ("quota", UpstreamQuotaGone, 1)],
)  # fmt: skip
async def test_what_does_not_end_is_given_up(tmp_path, fault, error, calls):
    double = Misbehaving()
    double.fault = lambda path, number: fault if path == "signHash" else ""
    async with short(tmp_path, double, upstream_tries=2) as upstream:
        results = await sign_all(upstream, 5)
    failed = [value for value in results if isinstance(value, UpstreamError)]
    assert [type(value) for value in failed] == [error] * (1 if fault == "wrong" else 5)
    assert double.calls["signHash"] == calls


async def test_calls_are_full_and_limited_in_number(tmp_path):
    double = Misbehaving(multisign=1000)
    double.latency = 0.05
    async with short(tmp_path, double) as upstream:
        await sign_all(upstream, 2500)
        assert double.calls["signHash"] == double.calls["authorize"] == 3
        double.multisign, double.calls = 10, {}
        await upstream.close()
    double.most_at_once, double.may_sign = 0, asyncio.Event()
    async with short(tmp_path, double) as upstream:
        signing = asyncio.create_task(sign_all(upstream, 200))
        await eventually(lambda: double.at_once == 4)  # however long it takes until the fourth one has come
        double.may_sign.set()
        await signing
    assert double.calls["signHash"] == 20 and double.most_at_once == 4


async def test_a_token_that_ends_is_renewed_once_for_all(tmp_path):
    double, chance = Misbehaving(), random.Random(1)
    async with short(tmp_path, double) as upstream:
        await upstream.credential(CALLER)
        account = next(iter(upstream.accounts))

        async def call():
            await asyncio.sleep(chance.random() / 10)
            return await upstream.service.credentials(account)

        double.latency = 0.05
        double.tokens.clear()
        assert await asyncio.gather(*(call() for _ in range(64))) == [["one"]] * 64
        # Late 401s for the old token arrive after the new token. They must not drop the new one.
        assert double.calls["token"] == 2
        double.tokens.clear()
        results = await sign_all(upstream, 64)
    assert all(isinstance(value, bytes) for value in results) and double.calls["token"] == 3


async def test_a_pause_that_is_asked_for_is_kept_by_all_calls(tmp_path):
    double, moments = Misbehaving(multisign=5), []

    def fault(path, number):
        if path == "signHash":
            moments.append(time.monotonic())
        return "429 1" if path == "signHash" and number == 1 else ""

    double.fault = fault
    async with short(tmp_path, double) as upstream:

        async def later():
            # Before the refusal has come, nobody knows of a pause.
            await eventually(lambda: moments and not double.at_once)
            return await sign_all(upstream, 5)

        await asyncio.gather(sign_all(upstream, 5), later())
    assert moments[1] - moments[0] >= 0.99


async def test_a_pause_too_long_to_wait_for_is_handed_back(tmp_path):
    double = Misbehaving()
    double.fault = lambda path, number: "429 3000" if path == "signHash" else ""
    async with short(tmp_path, double) as upstream:
        credential, budget = await upstream.credential(CALLER), [5] * 3
        parts = [part async for part in upstream.sign(CALLER, credential, DIGESTS[:3], request_key="k", budget=budget)]
    results = [value for part in parts for _, value in part]
    assert [value.retry_after_seconds for value in results] == [3000.0] * 3 and results[0].try_again
    assert budget == [4] * 3


async def test_a_dead_upstream_is_probed_and_costs_no_tries(tmp_path):
    double = Misbehaving(multisign=1)
    async with short(tmp_path, double, replace(PACE, hold_seconds=0.1)) as upstream:
        credential = await upstream.credential(CALLER)
        double.fault = lambda path, number: "503"
        budget = [5] * 20
        async for _ in upstream.sign(CALLER, credential, DIGESTS, request_key="k", budget=budget):
            pass
        assert upstream.breaker.is_open and sum(budget) > 60  # most digests were never sent
        sent = double.calls["authorize"]
        results = [v async for p in upstream.sign(CALLER, credential, DIGESTS[:1], request_key="k") for _, v in p]
        assert isinstance(results[0], UpstreamUnavailable) and double.calls["authorize"] == sent
        assert "down" in await upstream.health()
        double.fault = lambda path, number: ""
        assert all(isinstance(value, bytes) for value in await sign_all(upstream, 5))
        assert not upstream.breaker.is_open


async def test_a_certificate_renewed_in_the_middle_is_noticed(tmp_path):
    double = Misbehaving()
    async with short(tmp_path, double) as upstream:
        before = await upstream.credential(CALLER)
        double.key, double.certificate = make_signer()
        results = [v async for part in upstream.sign(CALLER, before, [b"d" * 32], request_key="k") for _, v in part]
        assert isinstance(results[0], CertificateRenewed) and "renewed" in results[0].cause
        after = await upstream.credential(CALLER)
        assert after.fingerprint != before.fingerprint
        assert all(isinstance(value, bytes) for value in await sign_all(upstream, 5))
