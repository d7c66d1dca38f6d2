"""Whole services that share a payload store: a folder that all mount, or an object store behind a proxy that can do wrong."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from harness.object_stores import store_flags
from harness.service import RunningService
from harness.several import STOPS_AT_ONCE, Several, several, shared_folder
from harness.store_proxy import StoreProxy
from harness.waiting import until
from tests.adversity.drills.judge import judge_result
from tests.support.object_stores import new_prefix, object_payloads, proxied
from tests.support.service import batch, documents, finished, get, post

from batchseal.payloads.marker import MARKER, Marker
from batchseal.settings.payload_stores import ObjectAddress

SECONDS = 120


@dataclass
class Store:
    """The flags of the service, and where copies of an instance lie, which it may lose."""

    flags: tuple[str, ...]
    proxy: StoreProxy | None = None
    address: ObjectAddress | None = None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of the database passes through."""
    with tempfile.TemporaryDirectory(prefix="batchseal-shared-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(params=["shared", "seaweedfs"])
def store(request: pytest.FixtureRequest, folder: Path) -> Store:
    if request.param == "shared":
        return Store((shared_folder(folder / "volume"),))
    return objects(request.param)


def objects(server: str) -> Store:
    proxy = proxied(server)
    address = new_prefix(proxy)
    return Store(store_flags(address), proxy, address)


def lose_copies(service: RunningService) -> None:
    for path in (service.folder / "temp" / "spill").glob("boot-*/*"):
        path.unlink()


def rows(rig: Several, statement: str) -> list[dict[str, object]]:
    return [dict(row) for row in asyncio.run(rig.fetch(statement))]


def test_any_instance_gives_what_another_one_took_in(folder: Path, store: Store) -> None:
    contents = documents(60, size_bytes=300_000)  # more than one part
    with several(folder, shared=False, flags=STOPS_AT_ONCE) as rig:
        one, two = (rig.start(name, *store.flags) for name in ("one", "two"))
        assert post(one, batch("large", contents))[0] == 200
        assert post(two, batch("small", contents[:1]))[0] == 200
        large, small = (finished(two, name, SECONDS).operation_id for name in ("large", "small"))
        for service in (one, two):
            judge_result(service, large, contents, verified=2)
            judge_result(service, small, contents[:1])
        # The instance that took it in loses what it has of its own, and starts again.
        one.process.terminate()
        one.process.wait(SECONDS)
        lose_copies(one)
        again = rig.start("one", *store.flags)
        judge_result(again, large, contents, verified=2)
        (kept,) = {row["payload_store"] for row in rows(rig, "SELECT payload_store FROM operations")}
        assert kept == ("shared" if store.proxy is None else "s3")


def test_an_instance_of_another_database_does_not_start(folder: Path, store: Store) -> None:
    with several(folder, shared=False) as rig:
        rig.start("one", *store.flags)
        (folder / "other").mkdir()
        with pytest.raises(SystemExit) as refusal, RunningService(*store.flags, folder=folder / "other"):
            pass
        assert "belongs to the database" in str(refusal.value)


def test_an_instance_takes_nothing_while_its_store_is_anothers(folder: Path) -> None:
    """The volume of another database is mounted in the place of ours, and is taken away again."""
    contents, marker = documents(1), folder / "volume" / MARKER
    with several(folder, shared=False) as rig:
        one = rig.start("one", shared_folder(folder / "volume"))
        assert post(one, batch("before", contents))[0] == 200
        ours = marker.read_bytes()
        marker.write_bytes(msgspec.json.encode(Marker(uuid4())))
        until(lambda: get(one, "/health/ready")[0] == 503, SECONDS)
        assert b"belongs to another database" in get(one, "/health/ready")[2]
        status, _, said = post(one, batch("refused", contents))
        assert (status, b"belongs to another database" in said) == (503, True)
        marker.write_bytes(ours)
        until(lambda: get(one, "/health/ready")[0] == 200, SECONDS)
        assert post(one, batch("after", contents))[0] == 200


def test_a_store_that_is_away_costs_nothing_but_time(folder: Path) -> None:
    """Uploads are refused before their body is read, what is under way waits, results wait, and the instance stays ready."""
    store, contents = objects("seaweedfs"), documents(20, size_bytes=100_000)
    assert store.proxy is not None
    with several(folder, "--latency=300", "--multisign=2", shared=False) as rig:
        one = rig.start("one", *store.flags)
        assert post(one, batch("before", contents))[0] == 200
        done = finished(one, "before", SECONDS).operation_id
        assert post(one, batch("under way", contents))[0] == 200
        lose_copies(one)
        store.proxy.away()
        try:
            result = (
                f"/signstash/einvoice-integration-client-ws/api/v0/operation/sign/detail/{done}/contentInResponse/true"
            )
            until(lambda: get(one, result)[0] == 503, SECONDS)
            status, headers, _ = post(one, batch("refused", contents))
            assert (status, "retry-after" in headers) == (503, True)
            ready, _, said = get(one, "/health/ready")
            assert ready == 200
            assert b"payload store is away" in said
        finally:
            store.proxy.back()
        until(lambda: post(one, batch("after", contents))[0] == 200, SECONDS)
        for reference in ("under way", "after"):
            operation_id = finished(one, reference, SECONDS).operation_id
            judge_result(one, operation_id, contents, verified=2)
        judge_result(one, done, contents, verified=2)
        assert {row["status"] for row in rows(rig, "SELECT status FROM operations")} == {2}


@pytest.mark.parametrize("killed", [False, True])
def test_broken_uploads_leave_nothing(folder: Path, killed: bool) -> None:
    """A hundred requests break off, small and large ones; or all are under way when every process is killed."""
    store = objects("seaweedfs")
    assert store.proxy is not None
    assert store.address is not None
    proxy, key = store.proxy, store.address.prefix.rpartition("/")[2]  # no other test has it
    large, small = (batch("broken", documents(count, size_bytes=300_000)) for count in (40, 2))
    with several(folder, shared=False) as rig:
        one = rig.start("one", *store.flags)

        def broken(number: int) -> None:
            from tests.support.service import connect, head, reply

            body = large if number % 10 == 0 else small
            with connect(one) as connection:
                connection.sendall(head(one, len(body)) + body[: -1 - number])
                if killed:
                    until(lambda: one.process.poll() is not None, SECONDS)
                else:
                    # The service closes the connection once it has read all that there is: no upload begins after that.
                    connection.shutdown(socket.SHUT_WR)
                    reply(connection)

        count = 12 if killed else 100
        with ThreadPoolExecutor(count if killed else 8) as pool:
            calls = [pool.submit(broken, number) for number in range(count)]
            if killed:
                until(lambda: proxy.asked("PUT", key, "partNumber=1") >= 1, SECONDS)
                one.kill()
                until(lambda: not proxy.asked_now("", key), SECONDS)
            for call in calls:
                call.exception()
        payloads = object_payloads(store.address, folder / "looks")
        if not killed:
            until(lambda: not payloads.requests.open_uploads(payloads.prefix), SECONDS)
        place = payloads.place
        place.remove_unfinished(place.now())  # what the sweep does once the period is over
        assert payloads.requests.open_uploads(payloads.prefix) == []
        assert place.payloads() == {}
        if not killed:
            until(lambda: not list((one.folder / "temp" / "spill").glob("boot-*/*")), SECONDS)
