"""Named queries, read once from the `*.sql` files beside this module. No other module holds SQL."""

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries() -> dict[str, str]:
    """Query name to text. A name that stands twice is an error."""
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
