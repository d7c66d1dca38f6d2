"""The OpenAPI document says everything that generators of clients need, in words that they know."""

import io
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from batchseal.api.contract import load_contract
from batchseal.api.openapi import openapi_document, server_address
from batchseal.api.openapi_examples import smallest_pdf
from batchseal.settings.load import Settings

DOCUMENT: dict[str, Any] = json.loads(openapi_document(load_contract()))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS: dict[str, Any] = {
    operation["operationId"]: operation for verbs in DOCUMENT["paths"].values() for operation in verbs.values()
}
WHOLE_BODIES = ("SignRequest", "Registration", "StatusEntry", "SignOperation", "Token", "Health", "Problem")


def contents() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each body that the document describes: where, its media type, and what is said of it."""
    for name, operation in OPERATIONS.items():
        for where, described in [("body", operation.get("requestBody", {})), *operation["responses"].items()]:
            for media_type, content in described.get("content", {}).items():
                yield f"{name} {where}", media_type, content


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema in `node`; `properties` is a table of schemas and none itself."""
    if isinstance(node, list):
        for one in node:
            yield from nodes(one)
    elif isinstance(node, dict):
        yield node
        for key in ("items", "additionalProperties", "anyOf"):
            yield from nodes(node.get(key))
        for member in node.get("properties", {}).values():
            yield from nodes(member)


def every_schema() -> Iterator[dict[str, Any]]:
    yield from (node for table in SCHEMAS.values() for node in nodes(table))
    yield from (node for _, _, content in contents() for node in nodes(content["schema"]))
    for operation in OPERATIONS.values():
        yield from (parameter["schema"] for parameter in operation.get("parameters", ()))


def test_every_reply_and_every_body_has_one_media_type_and_a_schema() -> None:
    described = list(contents())
    assert [f"{where} {media_type}" for where, media_type, content in described if not content.get("schema")] == []
    assert len({where for where, _, _ in described}) == len(described)


def test_binary_replies_are_described_once_and_in_one_way() -> None:
    binary = {
        where: media_type for where, media_type, content in contents() if content["schema"].get("format") == "binary"
    }
    assert binary == {
        "documents_by_id 200": "application/octet-stream",
        "document_by_id 200": "application/octet-stream",
        "document_by_id 206": "application/octet-stream",
        "evidence_record 200": "application/octet-stream",
    }
    files = OPERATIONS["sign_files"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["files"]
    assert files == {"type": "array", "items": {"type": "string", "format": "binary"}}


def test_the_licence_has_an_identifier_and_the_address_is_absolute() -> None:
    assert DOCUMENT["info"]["license"]["identifier"] == "Apache-2.0"
    assert [server["url"] for server in DOCUMENT["servers"]] == ["http://localhost:8080"]


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        (Settings(), "http://127.0.0.1:8080"),
        (Settings(host="0.0.0.0", port=80), "http://localhost:80"),
        (Settings(host="::"), "http://localhost:8080"),
        (Settings(host="0.0.0.0", advertised_address="seal.example:8443"), "http://seal.example:8443"),
        (Settings(advertised_address="[2001:db8::1]:8080"), "http://[2001:db8::1]:8080"),
        (Settings(advertised_address="seal.example:443", tls_certificate="c.pem"), "https://seal.example:443"),
    ],
)
def test_the_address_is_the_one_that_replies_advertise(settings: Settings, address: str) -> None:
    assert server_address(settings) == address
    assert json.loads(openapi_document(load_contract(), address))["servers"][0]["url"] == address


def test_metrics_that_this_address_does_not_answer_are_left_out() -> None:
    contract = load_contract()
    without = json.loads(openapi_document(contract, has_metrics=False))["paths"]
    assert DOCUMENT["paths"].keys() - without.keys() == {contract.metrics}


def test_every_operation_is_in_one_of_the_described_groups() -> None:
    groups = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    assert all(groups.values())
    assert {name for operation in OPERATIONS.values() for name in operation["tags"]} == groups.keys()
    assert all(len(operation["tags"]) == 1 for operation in OPERATIONS.values())


def test_a_generated_call_has_one_argument_for_each_thing() -> None:
    for name, operation in OPERATIONS.items():
        names = [parameter["name"] for parameter in operation.get("parameters", ())]
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if media_type != "application/json":
                names += content["schema"]["properties"]
        assert len(names) == len(set(names)), name


def test_every_value_fits_the_type_that_a_generator_makes_of_it() -> None:
    for node in every_schema():
        assert "default" not in node, node
        if "enum" in node:
            assert node["type"] == "string", node
        if node.get("type") == "integer":
            assert node["format"] in ("int32", "int64"), node
    # A million documents of an operation have ids of their own, so that this is soon more than 32 bits hold.
    assert SCHEMAS["SignedDocument"]["properties"]["internalId"]["format"] == "int64"


def test_a_list_of_values_that_types_share_has_one_name() -> None:
    for table, member, name in [
        ("Registration", "status", "OperationStatus"),
        ("SignOperation", "status", "OperationStatus"),
        ("SignedDocument", "signStatus", "DocumentStatus"),
        ("SignedDocument", "signError", "SignError"),
        ("SignatureInfo", "signatureType", "SignatureType"),
    ]:
        assert SCHEMAS[table]["properties"][member] == {"$ref": f"#/components/schemas/{name}"}
    assert "EXECUTION_FAILED" in SCHEMAS["OperationStatus"]["enum"]


def test_replies_hold_no_null_and_requests_may() -> None:
    null = {"type": "null"}
    for name in ("SignOperation", "SignedDocument", "Problem"):
        assert null not in [choice for node in nodes(SCHEMAS[name]) for choice in node.get("anyOf", ())]
    assert null in SCHEMAS["SignatureInfo"]["properties"]["reason"]["anyOf"]


@pytest.mark.parametrize("name", WHOLE_BODIES)
def test_each_body_has_an_example_that_fits_it(name: str) -> None:
    (example,) = SCHEMAS[name]["examples"]
    whole = SCHEMAS[name] | {"components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(whole).validate(example)
    assert set(SCHEMAS[name]["required"]) <= example.keys()


def test_each_parameter_of_a_path_has_an_example_that_fits_it() -> None:
    parameters = [one for operation in OPERATIONS.values() for one in operation.get("parameters", ())]
    for parameter in parameters:
        if parameter["in"] == "path":
            jsonschema.validate(parameter["example"], parameter["schema"])


def test_the_document_of_the_example_is_a_pdf_that_others_read() -> None:
    reader = PdfFileReader(io.BytesIO(smallest_pdf()), strict=True)
    assert int(reader.root["/Pages"]["/Count"]) == 1


def test_examples_have_the_names_of_an_operators_contract(tmp_path: Any) -> None:
    path = tmp_path / "contract.toml"
    path.write_text('[status]\nhost = "server"\n')
    replaced = json.loads(openapi_document(load_contract(str(path))))["components"]["schemas"]["Registration"]
    assert replaced["examples"][0].keys() == replaced["properties"].keys()
    assert "server" in replaced["properties"]
