"""What was found: differences that a client could notice, and notes on others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` differs at `place`. `counts`: a client could notice it."""

    place: str
    what: str
    old: str
    new: str
    counts: bool = True


@dataclass(slots=True)
class Findings:
    """Each difference is kept once, with the number of places where it was found."""

    found: dict[tuple[str, str, str, bool], list[str]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        key = finding.what, finding.old, finding.new, finding.counts
        self.found.setdefault(key, []).append(finding.place)

    def take(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            self.add(one)

    @property
    def differences(self) -> int:
        return sum(counts for *_, counts in self.found)

    def rows(self) -> list[tuple[str, str, str, str, bool]]:
        """Where, what, old, new, and whether it counts: what counts comes first."""
        rows = []
        for (what, old, new, counts), places in self.found.items():
            where = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
            rows.append((where, what, old, new, counts))
        return sorted(rows, key=lambda row: not row[-1])


def compared(
    place: str, old: Mapping[str, str], new: Mapping[str, str], *, noted: Iterable[str] = (), extra_counts: bool = True
) -> list[Finding]:
    """The differences between two sets of properties. Those that are `noted` do not count.

    Without `extra_counts`, neither does a property that only the new one has.
    """
    findings, quiet = [], set(noted)
    for name in dict.fromkeys((*old, *new)):
        before, now = old.get(name, ABSENT), new.get(name, ABSENT)
        if before != now:
            counts = name not in quiet and (extra_counts or name in old)
            findings.append(Finding(place, name, before, now, counts))
    return findings
