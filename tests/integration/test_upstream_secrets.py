"""Canaries: no secret, token, grant or document content appears in logs, causes or health reports, whatever goes wrong."""

import io
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from harness.invoices import invoice
from tests.support.upstream import running_service

from batchseal.errors import BatchsealError
from batchseal.settings.load import Settings
from batchseal.signer.pace import Pace
from batchseal.store import Store
from batchseal.system.backoff import Backoff
from batchseal.upstream.pace import UpstreamPace

PACE = Pace(between_tries=Backoff(0.02, 60.0))
UPSTREAM_PACE = UpstreamPace(repeating=Backoff(0.01, 20.0, 3.0), probing=Backoff(0.05, 30.0), hold_seconds=0.1)

SECRET, PROXY_SECRET, CONTENT = "c4nary-secret-of-A", "c4nary-proxy", b"c4nary content of a document"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Collects everything that is logged, at level DEBUG."""
    text = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(text),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    yield text
    logging.getLogger().removeHandler(handler)
    structlog.reset_defaults()


async def test_no_secret_is_said(
    connect_store: Callable[..., Awaitable[Store]], tmp_path: Path, said: io.StringIO
) -> None:
    instance, told = uuid4(), list[str]()
    async with running_service(connect_store, instance, tmp_path, pace=PACE, upstream_pace=UPSTREAM_PACE) as running:
        double = running.double
        double.token_prefix = "c4nary-token-that-is-long-enough-"
        (tmp_path / "client-services-config.json").write_text(f'{{"A": {{"secret": "{SECRET}"}}}}')
        faults = ["500", "401", "429 0", "html", "truncated", "reset", "quota", "400", "wrong", "echo"]

        def fault(path: str, number: int) -> str:
            return faults[number % len(faults)]

        double.fault = fault
        for number in range(len(faults)):
            content = invoice(number, size_bytes=5_000) + b"%" + CONTENT + b"\n"
            try:
                row = await running.submit(f"canary {number}", [content] * 3)
                await running.service.wait(row.id, 1)
                documents = await running.parts.store.documents(row.id, row.created_at)
                told += [document.cause or "" for document in documents]
            except BatchsealError as problem:
                told.append(problem.cause)
        told += (await running.service.ready()).values()
        told += (await running.service.numbers()).keys()
        (tmp_path / "client-services-config.json").write_text(f'{{"A": {{"secret": "{SECRET}", oops')
        told.append(str(await running.service.ready()))
        told.append(repr(Settings(proxy_password=PROXY_SECRET)))
    everything = said.getvalue() + "\n".join(told)
    assert len(said.getvalue()) > 1000
    assert len(told) > 10
    for canary in (
        SECRET,
        PROXY_SECRET,
        CONTENT.decode(),
        *(f"Bearer {token}" for token in double.tokens),
        "c4nary-token",
    ):
        assert canary not in everything
    assert not any(f"S:{digest}"[:30] in everything for digest in double.sent)
