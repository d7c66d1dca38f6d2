"""The schemas of the OpenAPI document: made from the types of requests and replies, in a form that generators of clients read.

A generated client must be able to hold every value that the service sends. Hence each integer is of 64 bits (an `internalId` has
more than 32), each list of values has a type, and a list that several types share has a name of its own.
"""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any

import msgspec

from batchseal.api import request_schemas, schemas
from batchseal.api.contract import Contract
from batchseal.api.openapi_examples import examples
from batchseal.operation import DocumentStatus, OperationStatus, SignError

REF = "#/components/schemas/{name}"
NULL = {"type": "null"}
BINARY = {"type": "string", "format": "binary"}
TEXT = {"type": "string"}

REQUESTS = (request_schemas.SignRequest,)
REPLIES = (
    schemas.Registration,
    schemas.StatusEntry,
    schemas.SignOperation,
    schemas.Token,
    schemas.Health,
    schemas.Problem,
)
# Lists of values with a name of their own. Where such a list occurs, the document refers to its name.
ENUMS: Mapping[str, tuple[str, ...]] = {
    "SignatureType": ("PAdES", "XAdES", "CAdES"),
    "SignatureLevel": ("B", "T", "LT", "LTA"),
    "SignaturePackaging": ("ATTACHED", "DETACHED"),
    "OperationStatus": tuple(member.name for member in OperationStatus),
    "DocumentStatus": tuple(member.name for member in DocumentStatus),
    "SignError": tuple(dict.fromkeys(member.label for member in SignError)),
}
NAMES = {frozenset(values): name for name, values in ENUMS.items()}


def schema(name: str) -> dict[str, Any]:
    """The schema for a reply: "integer", "binary", "text", the name of a component, or "Name[]" for a list of them."""
    if name.endswith("[]"):
        return {"type": "array", "items": schema(name[:-2])}
    plain = {"integer": {"type": "integer", "format": "int64"}, "binary": BINARY, "text": TEXT}
    return plain.get(name) or {"$ref": REF.format(name=name)}


def components(contract: Contract) -> dict[str, Any]:
    """The schemas of all types, with the names that the contract gives to fields, and an example for each whole body."""
    tables: dict[str, dict[str, Any]] = {
        name: {"title": name, "type": "string", "enum": list(values)} for name, values in ENUMS.items()
    }
    tables |= tables_of(REQUESTS, reply=False) | tables_of(REPLIES, reply=True)
    for name, names in (
        ("Registration", contract.status),
        ("StatusEntry", contract.status),
        ("SignedDocument", contract.document),
    ):
        table = tables[name]
        table["properties"] = {names.get(key, key): value for key, value in table["properties"].items()}
        table["required"] = [names.get(key, key) for key in table["required"]]
    for name, example in examples(contract).items():
        tables[name]["examples"] = [example]
    return tables


def tables_of(types: Iterable[type], *, reply: bool) -> dict[str, Any]:
    """The schemas of `types` and of all types in them, by name."""
    _, tables = msgspec.json.schema_components(types, ref_template=REF)
    return {name: readable(table, reply=reply) for name, table in tables.items()}


def readable(table: Mapping[str, Any], *, reply: bool) -> dict[str, Any]:
    """One schema of msgspec's, and all schemas in it, in a form that generators read.

    A reply leaves out a field that it has no value for, so null is no value of its fields. A request may hold null instead.
    """
    read = {key: value for key, value in table.items() if key != "default"}
    if isinstance(text := read.get("description"), str):
        read["description"] = cleandoc(text)  # a docstring keeps its indentation up to Python 3.12
    others = [choice for choice in read.get("anyOf", ()) if choice != NULL]
    if reply and len(others) == 1:
        read |= others[0]
        del read["anyOf"]
    if "enum" in read:
        if name := NAMES.get(frozenset(read["enum"])):
            return schema(name)
        read["type"] = "string"
    if read.get("type") == "integer":
        read.setdefault("format", "int64")
    if "anyOf" in read:
        read["anyOf"] = [readable(choice, reply=reply) for choice in read["anyOf"]]
    for key in ("items", "additionalProperties"):
        if isinstance(read.get(key), dict):
            read[key] = readable(read[key], reply=reply)
    if "properties" in read:
        read["properties"] = {key: readable(value, reply=reply) for key, value in read["properties"].items()}
    return read
