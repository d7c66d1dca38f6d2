"""The operations and field names in somebody else's OpenAPI document: version 2 (Swagger) or 3, in JSON."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from batchseal.errors import ConfigurationError

METHODS = ("get", "post", "put")
PARAMETER = re.compile(r"\{([^{}/]+)\}")
# Where the paths of an interface begin, behind the base path of the product.
VERSIONED = re.compile(r"^(?P<base>.*?)(?P<version>/api/v\d+)(?P<rest>/.*)?$")
MAX_DOCUMENT_BYTES = 16 << 20
MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Described:
    """An operation of the document. `path` is the whole path, without the host; `multipart`: whether it takes files."""

    method: str
    path: str
    multipart: bool
    fields: frozenset[str]  # the names of the fields in its reply, at any depth

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(PARAMETER.findall(self.path))

    @property
    def route(self) -> str:
        """The path behind base and version, without slashes at its ends."""
        match = VERSIONED.match(self.path)
        return (match["rest"] or "" if match else self.path).strip("/")


def read_openapi(path: Path) -> list[Described]:
    """The operations of the document. Raises ConfigurationError."""
    try:
        data = path.read_bytes()
        document = json.loads(data[: MAX_DOCUMENT_BYTES + 1])
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        raise ConfigurationError(f"{path}: not JSON ({problem}); a document in YAML must be converted first") from None
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ConfigurationError(f"{path}: is no OpenAPI document, since it has no object `paths`")
    return list(_operations(document))


def _operations(document: Mapping[str, Any]) -> Iterator[Described]:
    base = _base(document)
    for path, item in document["paths"].items():
        for method, operation in (item if isinstance(item, dict) else {}).items():
            if method.lower() in METHODS and isinstance(operation, dict):
                whole = re.sub(r"/{2,}", "/", f"{base}/{path}").rstrip("/")
                fields = frozenset(_fields_of_replies(document, operation))
                yield Described(method.upper(), whole, _takes_files(operation), fields)


def _base(document: Mapping[str, Any]) -> str:
    """The path that stands before all others."""
    servers = document.get("servers")
    if isinstance(servers, list) and servers and isinstance(servers[0], dict):
        return urlsplit(str(servers[0].get("url", ""))).path.rstrip("/")
    return str(document.get("basePath") or "").rstrip("/")


def _takes_files(operation: Mapping[str, Any]) -> bool:
    body = operation.get("requestBody")
    content = body.get("content", {}) if isinstance(body, dict) else {}
    forms = [one for one in operation.get("parameters", ()) if isinstance(one, dict) and one.get("in") == "formData"]
    return "multipart/form-data" in content or "multipart/form-data" in operation.get("consumes", ()) or bool(forms)


def _fields_of_replies(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    for status, reply in operation.get("responses", {}).items():
        if not str(status).startswith("2") or not isinstance(reply, dict):
            continue
        reply = _followed(document, reply)
        yield from _fields(document, reply.get("schema"), MAX_DEPTH)
        for content in reply.get("content", {}).values():
            yield from _fields(document, content.get("schema") if isinstance(content, dict) else None, MAX_DEPTH)


def _fields(document: Mapping[str, Any], schema: Any, depth: int) -> Iterator[str]:
    if not isinstance(schema, dict) or depth == 0:
        return
    schema = _followed(document, schema)
    for name, below in schema.get("properties", {}).items():
        yield name
        yield from _fields(document, below, depth - 1)
    for below in (schema.get("items"), *schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _fields(document, below, depth - 1)


def _followed(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a `$ref` within the document leads to."""
    for _ in range(MAX_DEPTH):
        reference = value.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return value
        found: Any = document
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
        value = found if isinstance(found, dict) else {}
    return {}
