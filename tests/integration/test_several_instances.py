"""Whole services beside each other on one database: whose work an operation is, and through whom its calls go."""

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.invoices import invoice
from harness.service import RunningService
from harness.several import STOPS_AT_ONCE, Several, several
from harness.waiting import until
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.shared_calls import (
    CALL_SECONDS,
    MOST_CALLS_OF_SINGLES,
    SINGLES,
    calls_of_singles,
    know_each_other,
)
from tests.support.service import SYNC, batch, documents, finished, post


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of the database passes through."""
    with tempfile.TemporaryDirectory(prefix="batchseal-several-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def rows(rig: Several, statement: str) -> list[dict[str, object]]:
    return [dict(row) for row in asyncio.run(rig.fetch(statement))]


def test_single_requests_at_three_instances_share_calls(folder: Path) -> None:
    with several(folder, f"--latency={1000 * CALL_SECONDS:.0f}", flags=STOPS_AT_ONCE) as rig:
        services = [rig.start(f"i{number}") for number in range(3)]
        know_each_other(rig, 3)
        assert post(services[0], batch("first", documents(1)), SYNC)[0] == 200
        calls = calls_of_singles(rig, services, "single")
        assert rig.sandbox.callers_at_once() == 1
        assert rig.sandbox.signatures() == SINGLES + 1
        assert calls <= MOST_CALLS_OF_SINGLES
        # A result can be had from any of them, whoever took it in and whoever signed it.
        for number in range(3):
            contents = [invoice(number, size_bytes=10_000)]
            judge_result(services[0], finished(services[2], f"single {number}").operation_id, contents)


def test_folders_of_their_own_share_the_calls_of_a_credential_by_turns(folder: Path) -> None:
    """What only one instance can read cannot move, so the lane comes to it."""
    contents = [invoice(number, size_bytes=10_000) for number in range(120)]
    with (
        several(folder, "--latency=100", "--multisign=10", shared=False, flags=STOPS_AT_ONCE) as rig,
        ThreadPoolExecutor(2) as pool,
    ):
        services = [rig.start(f"i{number}") for number in range(2)]
        know_each_other(rig, 2)

        halves = contents[:60], contents[60:]

        def one(service: RunningService, half: list[bytes]) -> int:
            return post(service, batch(f"at {service.port}", half), SYNC)[0]

        assert set(pool.map(one, services, halves)) == {200}
        assert rig.sandbox.callers_at_once() == 1
        assert rig.sandbox.signatures() == len(contents)
        for service, half in zip(services, halves, strict=True):
            judge_result(service, finished(service, f"at {service.port}").operation_id, half, verified=2)


def test_an_instance_that_stops_gives_everything_back(folder: Path) -> None:
    contents = documents(200)
    with several(folder, "--latency=400", "--multisign=10", flags=STOPS_AT_ONCE) as rig:
        first, second = rig.start("first"), rig.start("second")
        know_each_other(rig, 2)
        assert post(first, batch("moves", contents))[0] == 200
        until(lambda: rig.sandbox.signatures() > 0)
        first.process.terminate()
        first.process.wait(120)
        assert rows(rig, "SELECT count(*) AS held FROM operations WHERE lease_holder IS NOT NULL")[0]["held"] in (0, 1)
        (gone, left) = rows(rig, "SELECT left_at IS NULL AS there FROM instances ORDER BY started_at")
        assert (gone["there"], left["there"]) == (False, True)
        status = finished(second, "moves")
        judge_result(second, status.operation_id, contents, verified=2)
        assert rig.sandbox.callers_at_once() == 1
