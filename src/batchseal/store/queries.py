"""The named queries, read once from the `*.sql` files beside this module.

A query begins with the line `-- name: NAME`. The comment below that line says what the query is for.
"""

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


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


QUERIES = load_queries()
