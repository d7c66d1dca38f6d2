"""Flags that say which operations are meant, for `batchseal operations`."""

import argparse
import re
from datetime import UTC, date, datetime, time, timedelta

from batchseal.operation import Mode, OperationStatus
from batchseal.store.operator_rows import OperationFilter

STATUSES = {
    "pending": OperationStatus.PENDING_EXECUTION,
    "error": OperationStatus.EXECUTION_ERROR,
    "executed": OperationStatus.EXECUTED,
    "failed": OperationStatus.EXECUTION_FAILED,
}
MODES = {"async": Mode.ASYNC, "sync": Mode.SYNC, "hot_folder": Mode.HOT_FOLDER}
SPANS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Adds the flags to a parser."""
    group = parser.add_argument_group("which operations")
    group.add_argument(
        "--reference", default="", metavar="TEXT", help="whose external reference begins with this; by reference then"
    )
    group.add_argument("--client-service", default="", metavar="ID", help="of this client service")
    group.add_argument(
        "--status", action="append", default=[], choices=STATUSES, help="in this state; may be given several times"
    )
    group.add_argument("--mode", choices=MODES, help="asynchronous or synchronous ones, or those of hot folders")
    group.add_argument(
        "--since", type=moment, metavar="TIME", help="registered then or later: 2026-11-30, or 2026-11-30T14:00 (UTC)"
    )
    group.add_argument("--until", type=end, metavar="TIME", help="registered then or earlier; a day counts as a whole")
    group.add_argument("--failures", action="store_true", help="with a document that failed")
    group.add_argument("--older", type=span, metavar="SPAN", help="registered so long ago: 90s, 30m, 2h or 3d")
    group.add_argument("--held", action="store_true", help="list, resume, cancel: that is held after a restore")


def filter_of(options: argparse.Namespace) -> OperationFilter:
    """What the flags say."""
    return OperationFilter(
        reference=options.reference,
        client_service=options.client_service,
        statuses=frozenset(STATUSES[name] for name in options.status),
        mode=MODES[options.mode] if options.mode else None,
        since=options.since,
        until=options.until,
        has_failures=options.failures,
        older_seconds=options.older,
        is_held=options.held,
    )


def moment(text: str) -> datetime:
    """A day, which begins at midnight, or a time; UTC where the text names no other zone."""
    return _moment(text, time.min)


def end(text: str) -> datetime:
    """The same for the end of a span of time: a day counts as a whole."""
    return _moment(text, time.max)


def _moment(text: str, of_day: time) -> datetime:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return datetime.combine(date.fromisoformat(text), of_day, UTC)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 2026-11-30 or 2026-11-30T14:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(text: str) -> float:
    """Seconds."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time, such as 30m, 2h or 3d")
    return timedelta(seconds=int(match[1]) * SPANS[match[2]]).total_seconds()
