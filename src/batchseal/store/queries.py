"""The named queries, read once from the `*.sql` files beside this module.

A query begins with the line `-- name: NAME`. The comment below that line says what the query is for.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
# Arrays that are put side by side, each a column of the rows.
_ARRAYS = re.compile(r"unnest\((\s*\$\d+::\w+\[\](?:,\s*\$\d+::\w+\[\])*)\)")


def load_queries() -> dict[str, str]:
    """The text of each query by its name. Raises AssertionError if two queries have the same name."""
    queries: dict[str, str] = {}
    # importlib.resources would bring zipfile and more, which stay in the memory of each process.
    for file in sorted(Path(__file__).parent.glob("*.sql")):
        _, *parts = _NAME.split(file.read_text("utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in queries:
                raise AssertionError(f"{file.name}: query {name} stands twice")
            queries[name] = text.strip()
    return queries


def for_one_row(query: str) -> str:
    """The same query for one row in place of arrays: each array among its parameters becomes the value of a column.

    The server keeps a table in memory for each array that it unnests, and walks through them in a step of their own.
    """
    return _ARRAYS.sub(lambda found: f"(VALUES ({found[1].replace('[]', '')}))", query)


QUERIES = load_queries()
# Most operations of some callers have one document.
REGISTER_ONE = for_one_row(QUERIES["register"])


def register_query(columns: Sequence[Sequence[Any]], rows: int) -> tuple[str, Sequence[Any]]:
    """The query that registers so many documents, and what it is given: arrays, or the values of the only row."""
    return (REGISTER_ONE, [values[0] for values in columns]) if rows == 1 else (QUERIES["register"], columns)
