"""The named queries, read once from the `*.sql` files beside this module.

A query begins with the line `-- name: NAME`. The comment below that line says what the query is for.
"""

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries() -> dict[str, str]:
    """The text of each query by its name. Raises AssertionError if two queries have the same name."""
    queries: dict[str, str] = {}
    for file in sorted(resources.files("batchseal.store").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        _, *parts = _NAME.split(file.read_text("utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in queries:
                raise AssertionError(f"{file.name}: query {name} stands twice")
            queries[name] = text.strip()
    return queries


QUERIES = load_queries()
