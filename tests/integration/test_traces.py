"""Traces of a real service at a real collector: one trace for an operation, over worker and signer, below the caller's span."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.service import RunningService
from harness.waiting import until
from tests.support.service import ASYNC, FAST, batch, connect, documents, finished, head, reply

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MOST_SPANS = 12


@contextmanager
def collector(file: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.otlp_receiver", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, Path]]:
    file = tmp_path_factory.mktemp("traces") / "spans.jsonl"
    file.touch()
    with (
        collector(file) as address,
        RunningService(*FAST, f"--otlp-endpoint={address}", "--trace-percent=0") as service,
    ):
        yield service, file


def send(service: RunningService, reference: str, count: int, **headers: str) -> int:
    body = batch(reference, documents(count))
    with connect(service) as connection:
        connection.sendall(head(service, len(body), ASYNC, Connection="close", **headers) + body)
        return reply(connection)[0]


def all_spans(file: Path) -> list[dict[str, Any]]:
    """Without one that is still being written."""
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]


def spans(file: Path, trace: str) -> list[dict[str, Any]]:
    return [one for one in all_spans(file) if one["trace"] == trace]


def is_whole(found: list[dict[str, Any]]) -> bool:
    """Whether the trace has come: what is exported last, and each span that another one stands below."""
    known = {CALLER, *(one["id"] for one in found)}
    names = {one["name"] for one in found}
    return {"end", "sign operation", "register", "register_json"} <= names and all(
        one["parent"] in known for one in found
    )


def test_an_upload_of_100_documents_is_one_trace_with_the_callers_parent(traced):
    service, file = traced
    assert send(service, "traced", 100, traceparent=f"00-{TRACE}-{CALLER}-01") == 200
    assert finished(service, "traced").status == "EXECUTED"
    until(lambda: is_whole(spans(file, TRACE)))
    found = spans(file, TRACE)
    by_id = {one["id"]: one for one in found}
    assert len(found) <= MOST_SPANS, sorted(one["name"] for one in found)
    roots = [one for one in found if one["parent"] == CALLER]
    assert [one["name"] for one in roots] == ["register_json"] and roots[0]["process"] == "worker"
    assert all(one["parent"] in by_id for one in found if one is not roots[0])
    (signing,) = (one for one in found if one["name"] == "sign operation")
    assert signing["process"] == "signer" and by_id[signing["parent"]]["process"] == "worker"
    assert {one["process"] for one in found} == {"worker", "signer"}


def test_what_the_caller_does_not_trace_is_not_sent(traced):
    service, file = traced
    other = TRACE[::-1]
    assert send(service, "not traced", 2, traceparent=f"00-{other}-{CALLER}-00") == 200
    assert send(service, "without a trace", 2) == 200  # 0 percent of these are traced
    finished(service, "not traced")
    finished(service, "without a trace")
    behind = TRACE[1:] + TRACE[0]
    assert send(service, "behind them", 1, traceparent=f"00-{behind}-{CALLER}-01") == 200
    until(lambda: is_whole(spans(file, behind)))
    assert {one["trace"] for one in all_spans(file)} <= {TRACE, behind}
