"""Builds the OpenAPI 3.1 document from the contract in force and from the types of the requests and replies."""

from typing import Any

import msgspec

from batchseal import __version__
from batchseal.api import request_schemas, schemas
from batchseal.api.contract import Contract, Route

REF = "#/components/schemas/{name}"
DESCRIPTION = (
    "Signs batches of documents. Digests are computed here, a remote service signs them, and documents stay here."
)

PARAMETERS: dict[str, dict[str, Any]] = {
    "externalReference": {
        "description": "Percent-encoded, including slashes. It may be given as ?externalReference= in the query instead of here.",
        "schema": {"type": "string", "minLength": 1},
    },
    "id": {
        "description": "Id of the operation.",
        "schema": {"type": "integer", "format": "int64", "minimum": 0},
    },
    "ordinal": {
        "description": "Place of the document in the request, from 0.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "contentInResponse": {"description": "true: the result contains signedContent.", "schema": {"type": "boolean"}},
}

# For each route: its summary, its reply, and its HTTP statuses besides 401, 403 and 500, which all routes have.
SIGN = ("200", "202", "400", "408", "409", "413", "429", "503", "507")
SUMMARIES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "sign_json": ("Sign documents and wait for the result", "SignOperation", (*SIGN, "422")),
    "sign_files": ("Sign files and wait for the result", "SignOperation", (*SIGN, "422")),
    "register_json": ("Register documents for signing, without waiting", "Registration", SIGN),
    "register_files": ("Register files for signing, without waiting", "Registration", SIGN),
    "status_by_reference": (
        "Operations with an external reference, newest first",
        "StatusEntry[]",
        ("200", "400", "404"),
    ),
    "result_by_reference": (
        "Result of the newest operation with an external reference",
        "SignOperation",
        ("200", "400", "404", "409", "410", "503"),
    ),
    "status_by_id": ("Status of an operation by id", "StatusEntry", ("200", "404")),
    "result_by_id": ("Result of an operation by id", "SignOperation", ("200", "400", "404", "409", "410", "503")),
    "documents_by_id": ("Signed documents as a zip file", "zip", ("200", "404", "409", "410", "503")),
    "document_by_id": (
        "One signed document, or a range of it",
        "raw",
        ("200", "206", "404", "409", "410", "416", "503"),
    ),
    "operation_of_document": (
        "Id of the newest operation that has a document with an external reference",
        "integer",
        ("200", "400", "404"),
    ),
}


def openapi_document(contract: Contract) -> bytes:
    """The OpenAPI document as JSON. Its paths begin with the first base; the alias takes the same requests."""
    paths: dict[str, dict[str, Any]] = {}
    for route in contract.routes.values():
        path = contract.bases[0] + contract.version + route.template
        paths.setdefault(path, {})[route.verb.lower()] = operation(contract, route)
    paths[contract.token] = {"post": token_operation()}
    for name, path in (("live", contract.live), ("ready", contract.ready)):
        paths[path] = {"get": health_operation(name)}
    paths[contract.metrics] = {"get": metrics_operation()}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Batchseal",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components(contract),
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Id and secret of the client service.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A token issued by {contract.token}.",
                },
            },
        },
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def components(contract: Contract) -> dict[str, Any]:
    """The schemas of all types, with the names that the contract gives to fields."""
    types = [
        request_schemas.SignRequest,
        schemas.Registration,
        schemas.StatusEntry,
        schemas.SignOperation,
        schemas.Token,
        schemas.Health,
        schemas.Problem,
    ]
    _, tables = msgspec.json.schema_components(types, ref_template=REF)
    for name, names in (
        ("Registration", contract.status),
        ("StatusEntry", contract.status),
        ("SignedDocument", contract.document),
    ):
        table = tables[name]
        table["properties"] = {names.get(key, key): value for key, value in table["properties"].items()}
        table["required"] = [names.get(key, key) for key in table["required"]]
    return tables


def schema(name: str) -> dict[str, Any]:
    """The schema for a reply of SUMMARIES: "integer", the name of a component, or "Name[]" for a list of them."""
    if name.endswith("[]"):
        return {"type": "array", "items": schema(name[:-2])}
    return {"type": "integer", "format": "int64"} if name == "integer" else {"$ref": REF.format(name=name)}


def operation(contract: Contract, route: Route) -> dict[str, Any]:
    """The OpenAPI operation object of a route."""
    summary, reply, codes = SUMMARIES[route.name]
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True} | PARAMETERS[name] for name in route.parameters],
        "responses": {code: response(code, reply) for code in sorted({*codes, "401", "403", "500"})},
    }
    if route.name.startswith(("sign_", "register_")):
        described["requestBody"] = request_body(route.name.endswith("_files"))
        described["parameters"].append(
            header("Prefer", "respond-async: reply with 202 as soon as the request is registered.")
        )
    elif route.name.startswith("status_"):
        described["parameters"].append(
            header("Prefer", "wait=N: reply when the operation has finished, after N seconds at most.")
        )
    elif route.name == "document_by_id":
        described["parameters"].append(header("Range", "One range of bytes, such as bytes=0-99."))
    return described


def header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


def response(code: str, reply: str) -> dict[str, Any]:
    """The OpenAPI response object of an HTTP status, for a reply of SUMMARIES."""
    if code == "416":
        return {"description": "The range lies outside the document.", "content": {"text/plain": {}}}
    if code.startswith(("4", "5")):
        return {
            "description": "Problem",
            "content": {"application/problem+json": {"schema": schema("Problem")}},
        }
    if code == "202":
        return {
            "description": "Registered",
            "content": {"application/json": {"schema": schema("Registration")}},
        }
    if reply == "raw":
        types = ("application/pdf", "text/xml", "application/xml")
        return {"description": "The document", "content": {media_type: {} for media_type in types}}
    content: dict[str, Any] = {} if reply == "zip" else {"application/json": {"schema": schema(reply)}}
    if reply == "zip" or reply == "SignOperation":
        content["application/zip"] = {}
    return {"description": "Done", "content": content}


def request_body(files: bool) -> dict[str, Any]:
    if not files:
        return {"required": True, "content": {"application/json": {"schema": schema("SignRequest")}}}
    binary = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {
        "type": "object",
        "required": ["files", "signRequest"],
        "properties": {"signRequest": schema("SignRequest"), "files": binary},
    }
    encoding = {"signRequest": {"contentType": "application/json"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": encoding}}}


def token_operation() -> dict[str, Any]:
    grant = {"type": "string", "const": "client_credentials"}
    form = {"type": "object", "properties": {"grant_type": grant}}
    return {
        "operationId": "token",
        "summary": "Get a token for the id and secret of a client service (RFC 6749 4.4)",
        "security": [{"basic": []}],
        "parameters": [
            {"name": "grant_type", "in": "query", "required": False, "schema": grant},
        ],
        "requestBody": {
            "required": False,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        },
        "responses": {
            "200": {"description": "The token", "content": {"application/json": {"schema": schema("Token")}}},
            **{code: response(code, "") for code in ("400", "401", "403", "413", "500")},
        },
    }


def health_operation(name: str) -> dict[str, Any]:
    done = {"description": "Up", "content": {"application/json": {"schema": schema("Health")}}}
    responses = {"200": done} if name == "live" else {"200": done, "503": done | {"description": "Not ready"}}
    return {
        "operationId": name,
        "summary": f"Whether the service is {name}",
        "security": [],
        "responses": responses,
    }


def metrics_operation() -> dict[str, Any]:
    done = {"description": "Metrics", "content": {"text/plain": {}}}
    return {
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "security": [],
        "responses": {"200": done},
    }
