"""How the pages write times, sizes, durations and numbers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

NOTHING = "–"


def utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def local(moment: datetime) -> str:
    """In the time zone of this machine, which its own name tells. A script of the page writes that of the browser instead."""
    here = moment.astimezone()
    return f"{here:%Y-%m-%d %H:%M:%S} {here.tzname()}"


def time(moment: datetime | None) -> Markup:
    """A time in UTC and, where that is another one, in local time."""
    if moment is None:
        return Markup(f'<span class="none">{NOTHING}</span>')
    is_utc = not moment.astimezone().utcoffset()
    here = "" if is_utc else Markup('<span class="local">{}</span> ').format(local(moment))
    return Markup('<time datetime="{}">{}<span class="utc">{} UTC</span></time>').format(
        f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", here, utc(moment)
    )


@pass_context
def number(context: Context, value: float | None, digits: int = 0) -> str:
    """A number with thin spaces between thousands (ISO 80000-1 7.3.1), and a comma or point by the language."""
    if value is None:
        return NOTHING
    text = f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return text.replace(".", ",") if context["language"] == "pt" else text


@pass_context
def size(context: Context, value: float | None) -> str:
    """A size in decimal units (IEC 80000-13)."""
    if value is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            break
        value /= 1000
    else:
        unit = "TB"
    return f"{number(context, value, 0 if unit == 'B' or value >= 100 else 1)}\N{NO-BREAK SPACE}{unit}"


@pass_context
def duration(context: Context, seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f}\N{NO-BREAK SPACE}ms"
    if seconds < 60:
        return f"{number(context, seconds, 1)}\N{NO-BREAK SPACE}s"
    for unit, smaller, unit_seconds, smaller_seconds in (("d", "h", 86400, 3600), ("h", "min", 3600, 60)):
        if seconds >= unit_seconds:
            return two_units(int(seconds // unit_seconds), unit, int(seconds % unit_seconds // smaller_seconds), smaller)
    return two_units(int(seconds // 60), "min", int(seconds % 60), "s")


def two_units(large: int, unit: str, small: int, smaller: str) -> str:
    """A duration in two units, of which the smaller one is left out where it is 0."""
    text = f"{large}\N{NO-BREAK SPACE}{unit}"
    return f"{text} {small}\N{NO-BREAK SPACE}{smaller}" if small else text


@pass_context
def yes(context: Context, value: bool) -> str:
    text: str = context["_"]("yes" if value else "no")
    return text


def short(value: Any) -> Markup:
    """The beginning of an id, with all of it as a title."""
    return (
        Markup('<span class="id" title="{}">{}</span>').format(value, escape(str(value)[:8]))
        if value
        else Markup(NOTHING)
    )


def bar(signed: int, failed: int, total: int) -> Markup:
    """How many of `total` are signed and failed, as a bar. The figures stand beside it, so it is hidden from screen readers."""
    width = 100 / total if total else 0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-all" width="100" height="8"/><rect class="bar-good" width="{}" height="8"/>'
        '<rect class="bar-bad" x="{}" width="{}" height="8"/></svg>'
    ).format(f"{signed * width:.2f}", f"{signed * width:.2f}", f"{failed * width:.2f}")


def share(part: float, whole: float) -> Markup:
    """How much of a budget is in use, as a bar that turns to a warning colour from 80 % on."""
    percent = min(100.0, 100 * part / whole) if whole > 0 else 0.0
    kind = "bar-bad" if percent >= 90 else "bar-warn" if percent >= 80 else "bar-use"
    return Markup(
        '<svg class="bar wide" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-all" width="100" height="8"/><rect class="{}" width="{}" height="8"/></svg>'
    ).format(kind, f"{percent:.2f}")


FILTERS: dict[str, Callable[..., Any]] = {
    "duration": duration,
    "number": number,
    "share": share,
    "short": short,
    "size": size,
    "time": time,
    "yes": yes,
}
