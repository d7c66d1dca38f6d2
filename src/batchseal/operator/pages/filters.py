"""The filters of lists: as they stand in an address or a form, and as the database takes them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from batchseal.errors import InvalidRequest
from batchseal.operation import Mode, OperationStatus
from batchseal.operator.request import MAX_VALUE_CHARACTERS
from batchseal.store.operator import OperationFilter

# The fields of the filter of operations. An address holds those that have a value.
OPERATION_FIELDS = ("reference", "service", "status", "mode", "since", "until", "failures", "held", "older")
TIME_FIELDS = ("since", "until")


class Values(dict[str, str]):
    """The fields of a filter that have a value. A template finds every other one empty."""

    def __missing__(self, name: str) -> str:
        return ""


def values_of(fields: Mapping[str, list[str]], names: tuple[str, ...]) -> Values:
    """The value of each field that has one. Several values of one field are joined by spaces."""
    values = Values()
    for name in names:
        texts = [text.replace("\0", "").strip() for text in fields.get(name, [])]
        if text := " ".join(filter(None, texts))[:MAX_VALUE_CHARACTERS]:
            values[name] = text
    return values


def operation_filter(values: Mapping[str, str]) -> OperationFilter:
    """The filter of operations. Raises InvalidRequest, which names the field."""
    mode = values.get("mode", "")
    if mode not in ("", *(one.name for one in Mode)):
        raise InvalidRequest(f"mode: {mode!r} is no mode")
    return OperationFilter(
        reference=values.get("reference", ""),
        client_service=values.get("service", ""),
        statuses=statuses(values.get("status", "")),
        mode=Mode[mode] if mode else None,
        since=moment(values, "since"),
        until=moment(values, "until"),
        has_failures=values.get("failures") == "yes",
        is_held=values.get("held") == "yes",
        older_seconds=minutes(values.get("older", "")),
    )


def statuses(text: str) -> frozenset[OperationStatus]:
    try:
        return frozenset(OperationStatus[name] for name in text.split())
    except KeyError as problem:
        raise InvalidRequest(f"status: {problem.args[0]!r} is no status") from None


def moment(values: Mapping[str, str], name: str) -> datetime | None:
    """A time in UTC, as a field of type datetime-local or date sends it. Raises InvalidRequest."""
    text = values.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name}: {text[:40]!r} is no time such as 2026-01-31T12:00") from None


def minutes(text: str) -> float | None:
    """An age in minutes, as seconds. Raises InvalidRequest."""
    if not text:
        return None
    try:
        found = float(text.replace(",", "."))
    except ValueError:
        found = -1.0
    if not 0 <= found <= 10_000_000:
        raise InvalidRequest(f"older: {text[:40]!r} is no number of minutes")
    return found * 60
