"""How lines of the log look, what stands in them, and what must not."""

import errno
import io
import json
import logging
import sys

import pytest
import structlog

from batchseal.system.telemetry import events, logs
from batchseal.system.telemetry.context import REQUEST_ID, TRACE_PARENT, cleaned, parent_in
from batchseal.system.telemetry.logs import LogSettings, configure
from batchseal.system.waits import say

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Said:
    """What was written to standard error so far."""

    def __init__(self, capsys):
        self._capsys, self._text = capsys, ""

    def getvalue(self):
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def said(capsys):
    """Configures the log of this process, and gives what it writes."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)

    def begin(**settings):
        configure(LogSettings(**settings), is_for_good=False)
        return Said(capsys)

    yield begin
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


def logger():
    return structlog.get_logger("signer").bind()


def test_json_has_the_logger_the_request_and_the_trace(said):
    stream = said(form="json")
    request, trace = REQUEST_ID.set("abc"), TRACE_PARENT.set(PARENT)
    try:
        logger().info("operation finished", operation=7)
    finally:
        REQUEST_ID.reset(request)
        TRACE_PARENT.reset(trace)
    line = json.loads(stream.getvalue())
    assert line["event"] == "operation finished" and line["operation"] == 7 and line["level"] == "info"
    assert line["logger"] == "signer" and line["request_id"] == "abc" and line["trace_id"] == PARENT[3:35]
    assert line["timestamp"].endswith("Z")


def test_ecs_has_the_names_of_the_schema(said):
    stream = said(form="ecs", process="worker-1", instance="an instance")
    events.security_event("login refused", events.Category.AUTHENTICATION, "login", success=False, address="10.0.0.1")
    line = json.loads(stream.getvalue())
    assert line["message"] == "login refused" and line["log.level"] == "warning" and line["@timestamp"]
    assert line["event.category"] == "authentication" and line["event.action"] == "login"
    assert line["event.outcome"] == "failure" and line["event.kind"] == "event" and line["source.address"] == "10.0.0.1"
    assert line["service.name"] == "batchseal" and line["service.node.name"] == "an instance"
    assert line["ecs.version"] and line["process.name"] == "worker-1" and line["log.logger"] == "security"


def test_ecs_keeps_other_fields_below_a_name_of_ours(said):
    stream = said(form="ecs")
    logger().warning("an operation is tried again", operation=7)
    assert json.loads(stream.getvalue())["batchseal.operation"] == 7


def test_text_is_one_line_for_people_that_no_value_can_forge(said):
    stream = said(form="text")
    logger().info(
        "operation finished", external_reference="a\n2026-01-01T00:00:00Z error forged", documents=2, other="plain"
    )
    (line,) = stream.getvalue().splitlines()
    assert " info    operation finished " in line and "documents=2" in line and "other=plain" in line
    assert r'external_reference="a\n2026' in line


@pytest.mark.parametrize("form", ["text", "json", "ecs"])
def test_exceptions_have_their_stack(said, form):
    stream = said(form=form)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logger().exception("a duty failed")
    assert "Traceback" in stream.getvalue() and "broken" in stream.getvalue()


def test_names_and_references_are_masked_by_a_digest(said):
    stream = said(form="json", mask_key=b"key")
    logger().info("one", external_reference="INV 1", client_service="A")
    logger().info("two", external_reference="INV 1")
    logger().info("three", external_reference="INV 2")
    one, two, three = (json.loads(line) for line in stream.getvalue().splitlines())
    assert "INV" not in stream.getvalue() and one["client_service"] == "A"
    assert one["external_reference"] == two["external_reference"] != three["external_reference"]


def test_another_start_masks_the_same_text_otherwise():
    assert logs.masked(b"one", "INV 1") != logs.masked(b"two", "INV 1")


def test_the_level_holds_for_libraries_too(said):
    stream = said(form="json", level="warning")
    logging.getLogger("aiohttp").info("not this")
    logging.getLogger("aiohttp").warning("but %s", "this")
    logger().info("nor this")
    line = json.loads(stream.getvalue())
    assert line["event"] == "but this" and line["logger"] == "aiohttp"


class FullAtTimes(io.StringIO):
    """A stream on a disk that is full."""

    is_full = True

    def flush(self):
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_fails_nobody_and_the_log_says_later_how_much_it_lost(said, monkeypatch):
    stream = FullAtTimes()
    monkeypatch.setattr(sys, "stderr", stream)
    said(form="ecs")
    for number in range(3):
        logger().info("operation finished", operation=number)
    say("a sentence of the start")
    stream.is_full = False
    stream.truncate(0)
    stream.seek(0)
    logger().info("operation finished", operation=3)
    line, lost = map(json.loads, stream.getvalue().splitlines())
    assert line["batchseal.operation"] == 3
    assert (lost["message"], lost["batchseal.lines"]) == ("lines of the log were lost", 3)


def test_text_is_chosen_on_a_terminal_and_json_elsewhere(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert LogSettings(form="ecs").chosen_form == "ecs"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert LogSettings().chosen_form == "json" and not LogSettings().speaks_in_lines
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert LogSettings().chosen_form == "text"
    assert LogSettings(to="syslog+tls://log:6514").chosen_form == "json"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("order-17/a.b:c", "order-17/a.b:c"),
        ('a\r\nSet-Cookie: b "c"', "aSet-Cookie:bc"),
        ("x" * 500, "x" * 64),
        ("\u0430\u0431\u0432-1", "-1"),
    ],
)
def test_a_request_id_is_bounded_and_cleaned(given, kept):
    assert cleaned(given) == kept


def test_a_request_without_a_usable_id_gets_one():
    assert re_hex(cleaned("")) and re_hex(cleaned("\n\n")) and cleaned("") != cleaned("")


def re_hex(text):
    return len(text) == 32 and int(text, 16) >= 0


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (PARENT, PARENT),
        (f" {PARENT} ", PARENT),
        (PARENT.upper(), ""),
        ("ff" + PARENT[2:], ""),
        ("00-" + "0" * 32 + PARENT[35:], ""),
        (PARENT[:36] + "0" * 16 + "-01", ""),
        ("nothing", ""),
    ],
)
def test_a_traceparent_is_taken_as_the_standard_says(header, parent):
    assert parent_in(header) == parent
