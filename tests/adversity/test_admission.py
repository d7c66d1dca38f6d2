"""Refusals come before the body is read, arrive, and say when to come again; slow bodies are cut."""

import time
from collections.abc import Iterator

import pytest
from harness.service import RunningService
from harness.waiting import until
from tests.support.service import FAST, batch, connect, documents, finished, head, post, reply, spill_files


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    flags = ("--files-in-flight=10", "--average-document-bytes=500000", "--max-queued-documents=1000")
    with RunningService(*FAST, *flags) as running:
        yield running


def test_too_much_for_the_temporary_space_is_refused_unread(service: RunningService) -> None:
    with connect(service) as connection:
        began = time.monotonic()
        connection.sendall(head(service, 20_000_000))
        # Not one byte of the body: the reply cannot depend on it.
        status, headers, body = reply(connection)
    assert status == 507
    assert int(headers["retry-after"]) > 0
    assert b"batchseal.no_space" in body
    assert time.monotonic() - began < 120
    assert spill_files(service.folder) == []


def test_the_refusal_reaches_a_caller_that_sends_all_the_same(service: RunningService) -> None:
    replies = []

    def is_refused() -> bool:
        """On a busy machine a caller pauses for so long that the service does not wait for the rest of its body."""
        replies.append(post(service, b"x" * 20_000_000))
        return replies[-1][0] != 0

    until(is_refused)
    status, _, body = replies[-1]
    assert status == 507
    assert b"batchseal.no_space" in body


def test_what_fits_is_served_as_before(service: RunningService) -> None:
    status, _, _ = post(service, batch("fits", documents(20)))
    assert status == 200
    assert finished(service, "fits").status == "EXECUTED"


def test_a_body_that_trickles_is_cut() -> None:
    with (
        RunningService(*FAST, "--body-stall-seconds=1", "--min-body-rate=20000") as service,
        connect(service) as connection,
    ):
        connection.sendall(head(service, 1_000_000))
        began = time.monotonic()
        connection.settimeout(0.1)
        while time.monotonic() - began < 60:
            try:
                connection.sendall(b" " * 100)
                if connection.recv(1, 2):  # MSG_PEEK
                    break
            except TimeoutError:
                continue
            except ConnectionError:  # the reply is there, and so long ago that the service does not wait for the rest
                break
        connection.settimeout(60)
        status, _, _ = reply(connection)
        seconds = time.monotonic() - began
    assert status == 408
    assert seconds > 0.9


def test_a_full_queue_is_said_before_the_body_is_read() -> None:
    flags = ("--sandbox-latency=60000", "--sandbox-multisign=5", "--max-queued-documents=10")
    with RunningService(*FAST, *flags) as service:
        assert post(service, batch("first", documents(20)))[0] == 200
        with connect(service) as connection:
            connection.sendall(head(service, 1_000_000))
            status, headers, _ = reply(connection)
        assert status == 429
        assert int(headers["retry-after"]) > 0
        service.kill()  # else it would wait for the calls that take so long
