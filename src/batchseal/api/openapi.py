"""Builds the OpenAPI 3.1 document from the contract in force and from the types of the requests and replies."""

from typing import Any

import msgspec

from batchseal import __version__
from batchseal.api.contract import Contract, Route
from batchseal.api.openapi_examples import OPERATION_ID, REFERENCE
from batchseal.api.openapi_schemas import BINARY, components, schema
from batchseal.settings.load import Settings

# What a client calls that was given no address. The service names its own address instead (`server_address`).
DEFAULT_SERVER = "http://localhost:8080"
EVERY_ADDRESS = ("", "0.0.0.0", "::")
DESCRIPTION = (
    "Signs batches of documents. Digests are computed here, a remote service signs them, and documents stay here. "
    "Each reply names in the header Batchseal-Instance which instance of the service has given it."
)

PARAMETERS: dict[str, dict[str, Any]] = {
    "externalReference": {
        "description": "Percent-encoded, including slashes. It may be given as ?externalReference= in the query instead of here.",
        "example": REFERENCE,
        "schema": {"type": "string", "minLength": 1},
    },
    "id": {
        "description": "Id of the operation.",
        "example": OPERATION_ID,
        "schema": {"type": "integer", "format": "int64", "minimum": 0},
    },
    "ordinal": {
        "description": "Place of the document in the request, from 0.",
        "example": 0,
        "schema": {"type": "integer", "format": "int32", "minimum": 0},
    },
    "contentInResponse": {
        "description": "true: the result contains signedContent.",
        "example": True,
        "schema": {"type": "boolean"},
    },
}

# The groups of operations: generators make a class or a module of each.
TAGS = {
    "Signing": "Sign documents, and wait for the result or not.",
    "Operations": "How far operations are, and their results.",
    "Tokens": "Tokens for client services.",
    "Service": "Health and metrics of the service.",
}
# These results come as a zip file instead if the Accept header asks for application/zip. That is said in words: with two types
# beside each other, a generated client could not give its caller one of them.
RESULTS_AS_ZIP = ("result_by_reference", "result_by_id")
# In the document every binary reply is application/octet-stream, since generators know no other type for bytes; some of them fail
# if PDF and XML stand beside each other. The reply has the type of what it holds.
BINARY_REPLIES = {
    "zip": "The zip file. Its Content-Type is application/zip.",
    "raw": "The document. Its Content-Type is that of the document, such as application/pdf.",
    "record": "The record, in DER. Another type of content was never registered for it.",
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
    "evidence_record": (
        "Evidence record of one signed document (RFC 4998)",
        "record",
        ("200", "404", "409", "410"),
    ),
    "operation_of_document": (
        "Id of the newest operation that has a document with an external reference",
        "integer",
        ("200", "400", "404"),
    ),
}


def openapi_document(contract: Contract, server: str = DEFAULT_SERVER, *, has_metrics: bool = True) -> bytes:
    """The OpenAPI document as JSON. Its paths begin with the first base; the alias takes the same requests.

    `server` is the address that a client calls unless it is given another one. It is absolute: most generated clients cannot
    call a path without a host. `has_metrics`: the metrics can be asked for at this address.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in contract.routes.values():
        path = contract.bases[0] + contract.version + route.template
        paths.setdefault(path, {})[route.verb.lower()] = operation(contract, route)
    paths[contract.token] = {"post": token_operation()}
    for name, path in (("live", contract.live), ("ready", contract.ready)):
        paths[path] = {"get": health_operation(name)}
    if has_metrics:
        paths[contract.metrics] = {"get": metrics_operation()}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Batchseal",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server, "description": "The address that --server.host.port names."}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
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


def server_address(settings: Settings) -> str:
    """The address that replies give as that of the service, as a URL. An address that means "every address" is this host."""
    host, port = settings.advertised
    host = "localhost" if host in EVERY_ADDRESS else host
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def operation(contract: Contract, route: Route) -> dict[str, Any]:
    """The OpenAPI operation object of a route."""
    summary, reply, codes = SUMMARIES[route.name]
    takes_documents = route.name.startswith(("sign_", "register_"))
    described: dict[str, Any] = {
        "operationId": route.name,
        "tags": ["Signing" if takes_documents else "Operations"],
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True} | PARAMETERS[name] for name in route.parameters],
        "responses": {code: response(code, reply) for code in sorted({*codes, "401", "403", "500"})},
    }
    if route.name in RESULTS_AS_ZIP:
        described["description"] = "With `Accept: application/zip` the reply is a zip file of the signed documents."
    if takes_documents:
        described["requestBody"] = request_body(route.name.endswith("_files"))
        described["parameters"].append(
            header("Prefer", "respond-async: reply with 202 as soon as the request is registered.")
        )
        described["parameters"].append(record_parameter(contract))
    elif route.name.startswith("status_"):
        described["parameters"].append(
            header("Prefer", "wait=N: reply when the operation has finished, after N seconds at most.")
        )
    elif route.name == "document_by_id":
        described["parameters"].append(header("Range", "One range of bytes, such as bytes=0-99."))
    return described


def record_parameter(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.record_query,
        "in": "query",
        "required": False,
        "description": "true: an evidence record (RFC 4998) is made of the signed documents: one time stamp for all of them.",
        "schema": {"type": "boolean"},
    }


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
        return {
            "description": "The range lies outside the document.",
            "content": {"text/plain": {"schema": schema("text")}},
        }
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
    if reply in BINARY_REPLIES:
        return {
            "description": BINARY_REPLIES[reply],
            "content": {"application/octet-stream": {"schema": schema("binary")}},
        }
    return {"description": "Done", "content": {"application/json": {"schema": schema(reply)}}}


def request_body(files: bool) -> dict[str, Any]:
    if not files:
        return {"required": True, "content": {"application/json": {"schema": schema("SignRequest")}}}
    form = {
        "type": "object",
        "required": ["files", "signRequest"],
        "properties": {"signRequest": schema("SignRequest"), "files": {"type": "array", "items": BINARY}},
    }
    encoding = {"signRequest": {"contentType": "application/json"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": encoding}}}


def token_operation() -> dict[str, Any]:
    grant = {"type": "string", "enum": ["client_credentials"]}
    form = {"type": "object", "properties": {"grant_type": grant}}
    return {
        "operationId": "token",
        "tags": ["Tokens"],
        "summary": "Get a token for the id and secret of a client service (RFC 6749 4.4)",
        # Not as a parameter too: generated clients would have two arguments for it.
        "description": "`grant_type` may stand in the query as well as in the body. Without it, client_credentials is meant.",
        "security": [{"basic": []}],
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
        "tags": ["Service"],
        "summary": f"Whether the service is {name}",
        "security": [],
        "responses": responses,
    }


def metrics_operation() -> dict[str, Any]:
    done = {"description": "Metrics", "content": {"text/plain": {"schema": schema("text")}}}
    return {
        "operationId": "metrics",
        "tags": ["Service"],
        "summary": "Metrics for Prometheus",
        "security": [],
        "responses": {"200": done},
    }
