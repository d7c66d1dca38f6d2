"""Marks external references that the original sealed as taken, so that a retry after the switch seals nothing twice.

A line of the CSV file has a client service, an external reference and, if it is known, when it was sealed (ISO 8601). With
--client-service a line may hold the reference alone. The separator is told from the file.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from batchseal.errors import BatchsealError, ConfigurationError
from batchseal.store.taken_references import TakenReference, checked

HEADINGS = {
    "clientservice": "client_service",
    "clientserviceid": "client_service",
    "client": "client_service",
    "externalreference": "reference",
    "folderexternalreference": "reference",
    "reference": "reference",
    "date": "sealed_at",
    "creationdate": "sealed_at",
    "sealedat": "sealed_at",
}
SEPARATORS = ",;\t"


@dataclass(slots=True)
class ReadFile:
    """What a file holds. `wrong` says of each line that cannot be used why."""

    references: list[TakenReference] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def read_references(path: Path, client_service: str, known: Iterable[str]) -> ReadFile:
    """The references in the file. `known` are the client services that there are. Raises ConfigurationError."""
    result, services = ReadFile(), frozenset(known)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in _rows(file, bool(client_service)):
                try:
                    result.references.append(_reference(row, client_service, services))
                except BatchsealError as problem:
                    result.wrong.append(f"line {number}: {problem.cause}")
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise ConfigurationError(f"{path}: not a CSV file in UTF-8 ({problem})") from None
    return result


def _rows(file: Iterable[str], alone: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """Each line that is not empty, with its number; its values by our names."""
    lines = iter(file)
    first = next(lines, "")
    separator = max(SEPARATORS, key=first.count)
    names = ["reference"] if alone else ["client_service", "reference", "sealed_at"]
    headings = [_plain(one) for one in next(csv.reader([first], delimiter=separator), [])]
    if "reference" in (HEADINGS.get(one) for one in headings):
        names = [HEADINGS.get(one, "") for one in headings]
        first = ""
    elif alone and len(headings) > 1:
        names = ["reference", "sealed_at"]

    def rest() -> Iterator[str]:
        yield first or "\n"
        yield from lines

    reader = csv.reader(rest(), delimiter=separator, strict=True)
    for row in reader:
        if any(row):
            yield reader.line_num, dict(zip(names, (value.strip() for value in row), strict=False))


def _plain(heading: str) -> str:
    return "".join(filter(str.isalnum, heading)).lower()


def _reference(row: dict[str, str], client_service: str, known: frozenset[str]) -> TakenReference:
    owner = row.get("client_service") or client_service
    if not owner:
        raise ConfigurationError("it names no client service; --client-service names one for all lines")
    if owner not in known:
        raise ConfigurationError(f"there is no client service {owner!r} in the configuration")
    if not row.get("reference"):
        raise ConfigurationError("it has no external reference")
    return checked(TakenReference(owner, row["reference"], _time(row.get("sealed_at", ""))))


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a time such as 2026-11-30 or 2026-11-30T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
