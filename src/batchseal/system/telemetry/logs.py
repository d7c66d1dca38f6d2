"""The log of a process: one line for each event, as text, JSON or ECS, to a stream or to a syslog server.

No caller passes documents, secrets or tokens to the log. What may name a customer, an external reference or the name of a
document, is passed under the names of MASKED, so that a setting can replace it.
"""

import hashlib
import json
import logging
import sys
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from batchseal import __version__
from batchseal.system.telemetry.context import REQUEST_ID, TRACE_PARENT
from batchseal.system.telemetry.lines import Event, Write

ECS_VERSION = "8.11.0"
# Fields that may hold what a caller has named, replaced where the log is masked.
MASKED = ("external_reference", "document_name", "document_reference")
# Where fields of ours stand in the Elastic Common Schema. Others are below "batchseal.".
ECS_NAMES = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "event": "message",
    "logger": "log.logger",
    "request_id": "http.request.id",
    "trace_id": "trace.id",
    "address": "source.address",
    "exception": "error.stack_trace",
    "action": "event.action",
    "outcome": "event.outcome",
    "category": "event.category",
    "client_service": "user.name",
}


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a process logs. `form` and `to` are the settings --log-format and --log-to; `process` names the process.

    `mask_key` is what masked texts are replaced by a digest with; empty: they are not masked.
    """

    level: str = "info"
    form: str = ""
    to: str = "stderr"
    syslog_ca: str = ""
    mask_key: bytes = b""
    process: str = ""
    instance: str = ""

    @property
    def chosen_form(self) -> str:
        """The form, which is text on a terminal if none was named."""
        if self.form or self.to not in ("stderr", "stdout"):
            return self.form or "json"
        stream = sys.stdout if self.to == "stdout" else sys.stderr
        return "text" if stream.isatty() else "json"

    @property
    def speaks_in_lines(self) -> bool:
        """Whether the sentences of the start are events of the log too. They are plain lines where nothing was chosen."""
        return self.form in ("json", "ecs") or self.to != "stderr"


def configure(settings: LogSettings, *, is_for_good: bool = True) -> None:
    """Sets up the log of this process, once if `is_for_good`: loggers then keep what they found at their first line.

    Raises OSError where a file of the syslog server cannot be read.
    """
    number = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=processors(settings),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=Lines(writer_of(settings)),
        cache_logger_on_first_use=is_for_good,
    )
    logging.basicConfig(level=number, handlers=[OfLibraries()], force=True)


def processors(settings: LogSettings) -> list[Any]:
    form = settings.chosen_form
    steps: list[Any] = [structlog.processors.add_log_level, add_context]
    steps.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    steps.append(structlog.processors.format_exc_info)
    if settings.mask_key:
        steps.append(Mask(settings.mask_key))
    if form == "ecs":
        steps.append(Ecs(settings))
    steps.append(as_text if form == "text" else as_json)
    return steps


def add_context(logger: "LineLogger", method: str, event: Event) -> Event:
    """Which logger, request and trace a line belongs to."""
    if logger.name:
        event.setdefault("logger", logger.name)
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    if parent := TRACE_PARENT.get():
        event.setdefault("trace_id", parent[3:35])
    return event


class Mask:
    """Replaces the fields of MASKED by a digest with a key, so that lines about the same text can still be found together."""

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]

    def __call__(self, logger: "LineLogger", method: str, event: Event) -> Event:
        for name in MASKED:
            if name in event:
                event[name] = masked(self._key, str(event[name]))
        return event


def masked(key: bytes, text: str) -> str:
    return f"masked:{hashlib.blake2b(text.encode('utf-8', 'replace'), key=key, digest_size=8).hexdigest()}"


class Ecs:
    """Gives the fields of a line the names of the Elastic Common Schema."""

    def __init__(self, settings: LogSettings) -> None:
        self._always = {
            "ecs.version": ECS_VERSION,
            "service.name": "batchseal",
            "service.version": __version__,
            "service.node.name": settings.instance,
            "process.name": settings.process,
        }

    def __call__(self, logger: "LineLogger", method: str, event: Event) -> Event:
        named = {ECS_NAMES.get(name, f"batchseal.{name}"): value for name, value in event.items()}
        if "event.category" in named:
            named["event.kind"] = "event"
        return self._always | named


# `json.dumps` would make an encoder for each line.
_encode = json.JSONEncoder(default=repr).encode


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished line beside the event that it was made of."""

    line: str
    event: Event


def as_json(logger: "LineLogger", method: str, event: Event) -> tuple[tuple[Rendered], dict[str, Any]]:
    return (Rendered(_encode(event), event),), {}


def as_text(logger: "LineLogger", method: str, event: Event) -> tuple[tuple[Rendered], dict[str, Any]]:
    """Time, level, what happened, then the fields. A value with spaces or quotes is quoted, so that no value forges another."""
    left = dict(event)
    moment, level, said = left.pop("timestamp", ""), left.pop("level", method), left.pop("event", "")
    stack = left.pop("exception", "")
    pairs = "".join(f" {name}={plain(value)}" for name, value in left.items())
    line = f"{moment[:19]}Z {level:<7} {printable(str(said))}{pairs}"
    return (Rendered(f"{line}\n{stack}" if stack else line, event),), {}


def plain(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(" \"'=") else json.dumps(text, default=repr)


def printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)


class LineLogger:
    """What structlog gives finished lines to."""

    def __init__(self, write: Write, name: str) -> None:
        self._write = write
        self.name = name

    def _take(self, rendered: Rendered) -> None:
        self._write(rendered.line, rendered.event)

    msg = log = debug = info = warn = warning = error = critical = fatal = exception = _take


class Lines:
    """Makes the loggers of structlog."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def __call__(self, *names: str) -> LineLogger:
        return LineLogger(self._write, names[0] if names else "")


class OfLibraries(logging.Handler):
    """Passes on what libraries log by the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def writer_of(settings: LogSettings) -> Write:
    if settings.to in ("stderr", "stdout"):
        return to_stream(sys.stdout if settings.to == "stdout" else sys.stderr)
    from batchseal.system.telemetry.syslog import sender_of

    return sender_of(settings.to, settings.syslog_ca, settings.process).write


def to_stream(stream: TextIO) -> Write:
    """Writes lines to a stream. No request fails because its line cannot be written, as on a full disk.

    Later the log says how many lines were lost.
    """
    lost = 0

    def write(line: str, event: Event) -> None:
        nonlocal lost
        try:
            # One write for each line: several processes write to the same stream.
            stream.write(f"{line}\n")
            stream.flush()
        except OSError:
            lost += 1
            return
        if lost:
            count, lost = lost, 0
            structlog.get_logger("log").error("lines of the log were lost", lines=count)

    return write
