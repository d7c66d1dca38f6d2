"""The drill of the fourteen faults: each kind on a fifth of the calls, then all mixed; fixed seeds.

Counts what must not happen (a wrong signature, a document without a result, more than five sign calls for one) and what it
costs: sign calls against those of a run without faults.
"""

import asyncio
import hashlib
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness.misbehaving import KINDS, Misbehaving, service, sign_in_runs

from batchseal.errors import UpstreamError
from batchseal.operation import Caller
from batchseal.system.backoff import Backoff
from batchseal.upstream import csc
from batchseal.upstream.pace import UpstreamPace

SHARE = 0.2
MULTISIGN = 10


@dataclass
class Trial:
    """What one trial came to. `tries` is the most sign calls that a document was in, `calls` all that were begun, those that
    were refused at the door included.
    """

    signed: int = 0
    reported: int = 0
    wrong: int = 0
    lost: int = 0
    tries: int = 0
    calls: int = 0


def digests_of(seed: int, count: int) -> list[bytes]:
    return [hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(count)]


# What is waited for is not what is drilled.
SHORT_WAITS = UpstreamPace(repeating=Backoff(0.02, 20.0, growth=3.0))


async def run_trials(kind: str, trials: int, documents: int = 500) -> list[Trial]:
    """Side by side: most of a trial is waiting."""
    with mock.patch.object(csc, "SIGN_SECONDS_PER_DIGEST", 0.0):
        return list(await asyncio.gather(*(run_trial(kind, seed, documents) for seed in range(trials))))


async def run_trial(kind: str, seed: int, documents: int = 500) -> Trial:
    """`kind` is one of KINDS, "mixed", or "" for none."""
    chance, double, trial = random.Random(f"{kind} {seed}"), Misbehaving(MULTISIGN), Trial()

    def fault(path: str, number: int) -> str:
        if path != "signHash" or not kind or chance.random() >= SHARE:
            return ""
        return chance.choice(KINDS) if kind == "mixed" else kind

    double.fault = fault
    digests = digests_of(seed, documents)
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder), double, upstream_pace=SHORT_WAITS, upstream_timeout=1) as upstream:
            sign = upstream.service.sign

            async def counted(*arguments: Any, **named: Any) -> Any:
                trial.calls += 1
                return await sign(*arguments, **named)

            upstream.service.sign = counted  # type: ignore[method-assign]
            results = await sign_in_runs(upstream, Caller("A"), digests)
    key = x509.load_der_x509_certificate(double.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for digest, result in zip(digests, results, strict=True):
        if isinstance(result, UpstreamError):
            trial.reported += 1
            continue
        try:
            key.verify(result, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
            trial.signed += 1
        except InvalidSignature:
            trial.wrong += 1
    trial.lost = documents - trial.signed - trial.reported - trial.wrong
    trial.tries = max(double.sent.values())
    return trial
