"""Cron expressions with six fields, as the original product's framework (Spring) reads them: `Cron`.

    second minute hour day-of-month month day-of-week          0 0/5 * * * ?

A field is `*` or `?` (any), a number, a range `a-b`, a step `a/n`, `*/n` or `a-b/n`, or a list of these after commas. Months and
days of the week have their English names too (JAN, MON); 0 and 7 are Sunday. The day of the month may be `L` (the last one) or
`L-n`; the day of the week may be `5L` (the last Friday) or `5#2` (the second one). A day must fit both fields. `-` alone never
comes, and `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` stand for what they say.

Times are those of the local time zone. A time that a change of the clock leaves out does not come; one that it repeats comes
twice.
"""

import calendar
import re
import time
from dataclasses import dataclass

from batchseal.errors import ConfigurationError

MACROS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
NEVER = "-"
FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
NAMES_OF_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
MONTHS = {name: number for number, name in enumerate(NAMES_OF_MONTHS, 1)}
DAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
PART = re.compile(r"(\*|\?|[0-9A-Z]+)(?:-([0-9A-Z]+))?(?:/(\d+))?")
LAST_DAY = re.compile(r"L(?:-(\d+))?")
NTH_DAY = re.compile(r"([0-9A-Z]+?)(?:L|#([1-5]))")
# 29 February on a given day of the week comes every 28 years, and every 40 years around a century without a leap day.
MOST_DAYS = 41 * 366


@dataclass(frozen=True, slots=True)
class Cron:
    """When something is due. `text` is the expression; the sets hold the numbers that each field allows."""

    text: str
    seconds: frozenset[int] = frozenset()
    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    before_last: frozenset[int] = frozenset()  # so many days before the last one of the month
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()  # 0 is Sunday
    nth: frozenset[tuple[int, int]] = frozenset()  # day of the week, which one of the month (0: the last one)

    def next_after(self, moment: float) -> float | None:
        """The next time (seconds since the epoch) after `moment` at which this is due. None if there is none."""
        at = int(moment // 1) + 1
        if not self.seconds:
            return None
        days = 0
        while days < MOST_DAYS:
            local = time.localtime(at)
            if not self._fits_day(local):
                at = _next_day(local)
                days += 1
            elif local.tm_hour not in self.hours:
                at += 3600 - local.tm_min * 60 - min(local.tm_sec, 59)
            elif local.tm_min not in self.minutes:
                at += 60 - min(local.tm_sec, 59)
            elif local.tm_sec not in self.seconds:
                at += 1
            else:
                return float(at)
        return None

    def _fits_day(self, local: time.struct_time) -> bool:
        if local.tm_mon not in self.months:
            return False
        last = calendar.monthrange(local.tm_year, local.tm_mon)[1]
        if local.tm_mday not in self.days and last - local.tm_mday not in self.before_last:
            return False
        weekday = (local.tm_wday + 1) % 7
        if weekday in self.weekdays:
            return True
        which = (local.tm_mday - 1) // 7 + 1
        return (weekday, which) in self.nth or (local.tm_mday + 7 > last and (weekday, 0) in self.nth)


def _next_day(local: time.struct_time) -> int:
    """The first second of the next day."""
    return int(time.mktime((local.tm_year, local.tm_mon, local.tm_mday + 1, 0, 0, 0, 0, 0, -1)))


def parse(text: str) -> Cron:
    """Reads an expression. Raises ConfigurationError that names the field."""
    expression = MACROS.get(text.strip().lower(), text).upper()
    if expression.strip() == NEVER:
        return Cron(text)
    fields = expression.split()
    if len(fields) != len(FIELDS):
        raise ConfigurationError(
            f"{text!r} has {len(fields)} fields, and not six: second, minute, hour, day of the month, month, day of the week"
        )
    plain: list[frozenset[int]] = []
    before_last, nth = set[int](), set[tuple[int, int]]()
    for (name, least, most), field in zip(FIELDS, fields, strict=True):
        numbers = set[int]()
        names = MONTHS if name == "month" else DAYS if most == 7 else {}
        for part in field.split(","):
            if most == 31 and (found := LAST_DAY.fullmatch(part)):
                before_last.add(_number(found[1] or "0", {}, (name, 0, 30), text))
            elif most == 7 and (found := NTH_DAY.fullmatch(part)):
                nth.add((_number(found[1], names, (name, least, most), text) % 7, int(found[2] or 0)))
            else:
                numbers |= _numbers(part, names, (name, least, most), text)
        plain.append(frozenset(number % 7 for number in numbers) if most == 7 else frozenset(numbers))
    seconds, minutes, hours, days, months, weekdays = plain
    return Cron(text, seconds, minutes, hours, days, frozenset(before_last), months, weekdays, frozenset(nth))


def _numbers(part: str, names: dict[str, int], field: tuple[str, int, int], text: str) -> set[int]:
    found = PART.fullmatch(part)
    if found is None:
        raise _wrong(text, field[0], part)
    first, last, step = found[1], found[2], found[3]
    name, least, most = field
    if first in ("*", "?"):
        if last or (step and first == "?"):
            raise _wrong(text, name, part)
        start, stop = least, most
    else:
        start = _number(first, names, field, text)
        ends = {**names, "SUN": 7} if names is DAYS else names  # a week may end with its Sunday
        stop = _number(last, ends, field, text) if last else most if step else start
    if start > stop or step == "0":
        raise _wrong(text, name, part)
    return set(range(start, stop + 1, int(step or 1)))


def _number(part: str, names: dict[str, int], field: tuple[str, int, int], text: str) -> int:
    name, least, most = field
    number = names.get(part, int(part) if part.isdigit() else -1)
    if not least <= number <= most:
        raise _wrong(text, name, part)
    return number


def _wrong(text: str, field: str, part: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r}: {part!r} cannot stand for a {field}")
