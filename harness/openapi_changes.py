"""What changed between two OpenAPI documents, and which of the changes break clients that were generated from the older one.

A change breaks a client if a call that it makes is refused or cannot be written down any more, or if it cannot read a reply that
it may get. So what a request must hold may only become less, and what a reply holds may only become more. Names that generators
turn into names of their own (operations, groups, types) must stay. Documents are those of `api/openapi.py`: references go to
components only, and a schema uses the keywords below.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["request", "reply"]
Node = Mapping[str, Any]

EMPTY: Node = {}
# Keywords whose value may not change in either direction.
FIXED = ("type", "format", "pattern", "const", "contentEncoding", "contentMediaType", "$ref")
# A larger value of these refuses more; a smaller value of the others does.
LOWER, UPPER = ("minLength", "minItems", "minimum"), ("maxLength", "maxItems", "maximum")


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `where` is the operation or the type, and the place in it."""

    where: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'BREAKING' if self.breaking else 'compatible'}: {self.where}: {self.what}"


def changes(old: Node, new: Node) -> list[Change]:
    """Every change that a client could notice, breaking ones first. Texts, examples and the address are none."""
    found = [*operation_changes(old, new), *type_changes(old, new)]
    return sorted(found, key=lambda change: (not change.breaking, change.where, change.what))


def operation_changes(old: Node, new: Node) -> Iterator[Change]:
    before, after = operations(old), operations(new)
    for address in before.keys() - after.keys():
        yield Change(address, "is gone", True)
    for address in after.keys() - before.keys():
        yield Change(address, "is new", False)
    for address in before.keys() & after.keys():
        was, becomes = before[address], after[address]
        for key in ("operationId", "tags"):
            if was.get(key) != becomes.get(key):
                yield Change(address, f"{key} {was.get(key)} becomes {becomes.get(key)}", True)
        if security(old, was) != security(new, becomes):
            gone = [way for way in security(old, was) if way not in security(new, becomes)]
            yield Change(address, "other ways to authenticate", bool(gone))
        yield from parameter_changes(address, was, becomes)
        yield from body_changes(address, was.get("requestBody", EMPTY), becomes.get("requestBody", EMPTY))
        yield from response_changes(address, was["responses"], becomes["responses"])


def operations(document: Node) -> dict[str, Node]:
    """Each operation under its HTTP method and path."""
    paths = document["paths"].items()
    return {f"{verb.upper()} {path}": operation for path, verbs in paths for verb, operation in verbs.items()}


def security(document: Node, operation: Node) -> list[Any]:
    return list(operation.get("security", document.get("security", [])))


def parameter_changes(address: str, old: Node, new: Node) -> Iterator[Change]:
    def by_name(operation: Node) -> dict[str, Node]:
        return {f"{one['in']} parameter {one['name']}": one for one in operation.get("parameters", ())}

    yield from members_changed(
        address,
        {name: one["schema"] for name, one in by_name(old).items()},
        {name: one["schema"] for name, one in by_name(new).items()},
        [name for name, one in by_name(old).items() if one.get("required")],
        [name for name, one in by_name(new).items() if one.get("required")],
        "request",
    )


def body_changes(address: str, old: Node, new: Node) -> Iterator[Change]:
    if not old.get("required") and new.get("required"):
        yield Change(address, "the body becomes mandatory", True)
    yield from content_changes(f"{address} body", old.get("content", EMPTY), new.get("content", EMPTY), "request")


def response_changes(address: str, old: Node, new: Node) -> Iterator[Change]:
    for status in old.keys() - new.keys():
        yield Change(address, f"status {status} is gone", status.startswith("2"))
    for status in new.keys() - old.keys():
        yield Change(address, f"status {status} is new", status.startswith("2"))
    for status in old.keys() & new.keys():
        content = old[status].get("content", EMPTY), new[status].get("content", EMPTY)
        yield from content_changes(f"{address} {status}", *content, "reply")


def content_changes(where: str, old: Node, new: Node, direction: Direction) -> Iterator[Change]:
    for media_type in old.keys() - new.keys():
        yield Change(where, f"{media_type} is gone", True)
    for media_type in new.keys() - old.keys():
        # A further type for the same reply makes a union of what a generated client returns.
        yield Change(where, f"{media_type} is new", direction == "reply" and bool(old))
    for media_type in old.keys() & new.keys():
        schemas = old[media_type].get("schema", EMPTY), new[media_type].get("schema", EMPTY)
        yield from schema_changes(f"{where} {media_type}", *schemas, direction)


def type_changes(old: Node, new: Node) -> Iterator[Change]:
    """Changes of the named types. A type that both requests and replies hold must fit both."""
    before, after = old["components"]["schemas"], new["components"]["schemas"]
    for name in before.keys() - after.keys():
        yield Change(name, "is gone", True)
    for name in after.keys() - before.keys():
        yield Change(name, "is new", False)
    for direction in ("request", "reply"):
        for name in sorted(used(new, direction) & before.keys() & after.keys()):
            yield from schema_changes(name, before[name], after[name], direction)


def used(document: Node, direction: Direction) -> set[str]:
    """The names of the types that requests or replies hold."""
    waiting: list[Any] = []
    for operation in operations(document).values():
        request = [operation.get("requestBody", EMPTY), operation.get("parameters", ())]
        waiting += request if direction == "request" else [operation["responses"]]
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting += node
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(document["components"]["schemas"].get(name))
            waiting += [value for key, value in node.items() if key not in ("example", "examples")]
    return found


def schema_changes(where: str, old: Node, new: Node, direction: Direction) -> Iterator[Change]:
    """What changed from `old` to `new`, in the direction that the values take."""
    for key in FIXED:
        if old.get(key) != new.get(key):
            yield Change(where, f"{key} {old.get(key)} becomes {new.get(key)}", True)
    yield from value_changes(where, old, new, direction)
    yield from members_changed(
        where,
        old.get("properties", EMPTY),
        new.get("properties", EMPTY),
        old.get("required", ()),
        new.get("required", ()),
        direction,
    )
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from schema_changes(f"{where} {key}", old[key], new[key], direction)
        elif old.get(key) != new.get(key):
            yield Change(where, f"{key} changed", True)
    gone = [choice for choice in old.get("anyOf", ()) if choice not in new.get("anyOf", ())]
    added = [choice for choice in new.get("anyOf", ()) if choice not in old.get("anyOf", ())]
    if gone or added:
        yield Change(where, "anyOf has other choices", bool(gone) if direction == "request" else bool(added))


def value_changes(where: str, old: Node, new: Node, direction: Direction) -> Iterator[Change]:
    """Changes of the list of values and of bounds. A request may be allowed more, a reply may hold less."""
    if old.get("enum") != new.get("enum"):
        fewer = not old.get("enum") or bool(set(old["enum"]) - set(new.get("enum") or old["enum"]))
        more = not new.get("enum") or bool(set(new["enum"]) - set(old.get("enum") or new["enum"]))
        yield Change(where, "the list of values changed", fewer if direction == "request" else more)
    for key in (*LOWER, *UPPER):
        was, becomes = old.get(key), new.get(key)
        if was == becomes:
            continue
        sign = 1 if key in LOWER else -1
        tighter = was is None or (becomes is not None and sign * becomes > sign * was)
        yield Change(where, f"{key} {was} becomes {becomes}", tighter == (direction == "request"))


def members_changed(
    where: str, old: Node, new: Node, old_required: Any, new_required: Any, direction: Direction
) -> Iterator[Change]:
    """Changes of named members: the fields of a type, or the parameters of an operation."""
    for name in old.keys() - new.keys():
        yield Change(where, f"{name} is gone", True)
    for name in new.keys() - old.keys():
        mandatory = name in new_required
        yield Change(where, f"{name} is new", mandatory and direction == "request")
    for name in old.keys() & new.keys():
        if (name in old_required) != (name in new_required):
            mandatory = name in new_required
            what = "becomes mandatory" if mandatory else "becomes optional"
            yield Change(where, f"{name} {what}", mandatory == (direction == "request"))
        yield from schema_changes(f"{where} {name}", old[name], new[name], direction)
