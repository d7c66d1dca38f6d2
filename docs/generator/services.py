"""What may stand in the files of client services, from their JSON schema."""

import json
from collections.abc import Iterator
from typing import Any

from docs.generator.texts import ROOT, code, plain

SCHEMA = "client-services-config.schema.json"
OWN_SCHEMA = "batchseal-services.schema.json"
EXAMPLE = "client-services-config.example.json"
FILES = (SCHEMA, OWN_SCHEMA, EXAMPLE)


def services_keys() -> str:
    """Every key as one entry of a list, with the keys of objects below it."""
    schema = json.loads((ROOT / "docs" / SCHEMA).read_text("utf-8"))
    return "\n".join(_keys(schema["$defs"]["entry"], schema["$defs"], depth=0)) + "\n"


def _keys(node: dict[str, Any], shared: dict[str, Any], depth: int) -> Iterator[str]:
    required = node.get("required", [])
    for name, said in node.get("properties", {}).items():
        entry = _resolved(said, shared)
        facts = ["needed"] if name in required else []
        if values := [str(value) for value in entry.get("enum", []) if value]:
            facts.append("one of " + ", ".join(map(code, values)))
        elif "true" in _types(entry):
            facts.append("`true` or `false`")
        end = f" ({'; '.join(facts)})" if facts else ""
        yield f"{'    ' * depth}- `{name}`{end}: {plain(entry.get('description', ''))}"
        yield from _keys(entry, shared, depth + 1)
        yield from _keys(_resolved(entry.get("items", {}), shared), shared, depth + 1)


def _types(entry: dict[str, Any]) -> list[str]:
    types = entry.get("type", [])
    return ["true"] if "boolean" in ([types] if isinstance(types, str) else types) else []


def _resolved(node: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shared[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return found
