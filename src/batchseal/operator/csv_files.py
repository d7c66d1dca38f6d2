"""CSV files (RFC 4180), sent while they are made. They open in a spreadsheet, and a cell never begins a formula there."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from batchseal.operator.request import Reply

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
# A spreadsheet takes a cell that begins with one of these for a formula (OWASP: CSV injection).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
                  "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
# By this mark spreadsheets know UTF-8.
MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


def cell(value: Any) -> str:
    """A value as the text of a cell. A text that could be a formula gets an apostrophe before it, a number stays one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


def lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


async def pieces(titles: Sequence[str], parts: AsyncIterator[Sequence[Sequence[Any]]]) -> AsyncIterator[bytes]:
    """The file in pieces: the titles, then each part as it comes."""
    yield MARK.encode() + lines([titles])
    async for rows in parts:
        if rows:
            yield lines(rows)


def csv_reply(name: str, body: bytes | AsyncIterator[bytes]) -> Reply:
    """A reply that the browser saves as a file."""
    return Reply(body, media_type=MEDIA_TYPE, headers=[("content-disposition", f'attachment; filename="{name}"')])
