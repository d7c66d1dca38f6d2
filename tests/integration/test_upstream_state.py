"""What an operator learns about the upstream: at the start, in the readiness report, and as metrics."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from harness.misbehaving import Misbehaving, service
from tests.support.upstream import CONTENTS, running_service

from batchseal.errors import ConfigurationError, UpstreamTransient
from batchseal.store import Store
from batchseal.system.backoff import Backoff
from batchseal.upstream.breaker import FAILURES
from batchseal.upstream.named import check_credentials
from batchseal.upstream.pace import UpstreamPace


async def test_the_start_fails_where_no_credential_is_named(tmp_path: Path) -> None:
    double = Misbehaving()
    async with service(tmp_path, double) as upstream:
        await check_credentials(upstream, upstream.services)
    double.answer_list = lambda body: {"credentialIDs": ["seal one", "seal two"]}  # type: ignore[method-assign]
    async with service(tmp_path, double) as upstream:
        with pytest.raises(ConfigurationError, match="seal one, seal two"):
            await check_credentials(upstream, upstream.services)
        double.fault = lambda path, number: "503"
        await check_credentials(upstream, upstream.services)  # an upstream that is down must not prevent the start


async def test_readiness_and_numbers(connect_store: Callable[..., Awaitable[Store]], tmp_path: Path) -> None:
    instance, pace = uuid4(), UpstreamPace(health_seconds=0, probing=Backoff(60, 60))
    async with running_service(connect_store, instance, tmp_path, upstream_pace=pace) as running:
        await running.finished((await running.submit("state", CONTENTS)).id)
        calls = dict(running.double.calls)
        ready, numbers = await running.service.ready(), await running.service.numbers()
        assert running.double.calls["signHash"] == calls["signHash"]  # neither of them signs anything
        assert ready["database"] == ready["signer"] == "ok"
        assert "ends in 0 days" in ready["upstream"]  # the double's certificate is valid for one day
        assert "not a qualified certificate" in ready["upstream"]
        assert numbers["batchseal_upstream_up"] == 1
        assert numbers["batchseal_upstream_sign_calls_total"] == 4
        assert 0 < numbers["batchseal_certificate_days_left"] <= 1
        for _ in range(FAILURES):
            running.upstream.breaker.record(UpstreamTransient("away"))
        assert "down" in (await running.service.ready())["upstream"]
        assert (await running.service.numbers())["batchseal_upstream_breaker_open"] == 1
