"""The committed copy of the OpenAPI document is the present one, was tried with generators, and tells what breaks clients."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.openapi_changes import changes
from harness.openapi_copy import COPY, current, digest, write

RESULT = COPY.parent / "benchmarks" / "results" / "clients.json"
DOCUMENT: dict[str, Any] = json.loads(current())
PREFIX = "/signstash/einvoice-integration-client-ws/api/v0/"
Edit = Callable[[dict[str, Any], dict[str, Any]], object]


def test_the_copy_is_the_present_document() -> None:
    found = "\n".join(map(str, changes(json.loads(COPY.read_bytes()), DOCUMENT)))
    assert COPY.read_bytes() == current(), (
        f"the OpenAPI document changed; run `make openapi`, then `make clients`\n{found}"
    )


def test_all_generators_were_tried_with_this_document() -> None:
    tried = json.loads(RESULT.read_bytes())
    assert tried["document_sha256"] == digest(DOCUMENT), "the OpenAPI document changed; run `make clients`"
    assert set(tried["calls"]) == {"openapi-python-client", "openapi-generator python", "openapi-ts"}
    assert min(tried["calls"].values()) >= 12
    languages = {f"openapi-generator {language}" for language in ("java", "csharp", "php", "go")}
    assert {*tried["calls"], *languages} == set(tried["generated"])


def sign(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][PREFIX + "document/sign/base64"]["post"]
    return found


# Each edits the document (its operations under `paths`, its types under the second argument).
BREAKING: dict[str, Edit] = {
    "an operation goes": lambda d, s: d["paths"].pop(PREFIX + "operation/status/{id}"),
    "an operation is renamed": lambda d, s: sign(d).update(operationId="sign"),
    "an operation changes its group": lambda d, s: sign(d).update(tags=["Service"]),
    "a way to authenticate goes": lambda d, s: d.update(security=[{"basic": []}]),
    "a parameter goes": lambda d, s: sign(d)["parameters"].pop(),
    "a parameter becomes mandatory": lambda d, s: sign(d)["parameters"][0].update(required=True),
    "a new parameter is mandatory": lambda d, s: sign(d)["parameters"].append(
        {"name": "x", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "the type of a body goes": lambda d, s: sign(d)["requestBody"].update(content={"text/json": {"schema": {}}}),
    "a reply gets another type": lambda d, s: sign(d)["responses"]["200"].update(content={"application/zip": {}}),
    "a reply gets a second type": lambda d, s: sign(d)["responses"]["200"]["content"].update({"application/zip": {}}),
    "a successful status goes": lambda d, s: sign(d)["responses"].pop("202"),
    "a type goes": lambda d, s: s.pop("PersonReceiver"),
    "a field of a reply goes": lambda d, s: s["SignedDocument"]["properties"].pop("internalId"),
    "a field of a reply may be absent": lambda d, s: s["SignedDocument"]["required"].remove("internalId"),
    "a field of a reply has other values": lambda d, s: s["OperationStatus"]["enum"].append("PAUSED"),
    "a field of a reply may be null": lambda d, s: s["SignOperation"]["properties"].update(
        type={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "a number has fewer bits": lambda d, s: s["SignedDocument"]["properties"]["internalId"].update(format="int32"),
    "a field has another type": lambda d, s: s["Token"]["properties"]["expires_in"].update(type="string"),
    "a field of a request goes": lambda d, s: s["SignRequest"]["properties"].pop("returnSignedContent"),
    "a field of a request becomes mandatory": lambda d, s: s["SignRequest"]["required"].append("returnSignedContent"),
    "a field of a request may no longer be null": lambda d, s: s["SignatureInfo"]["properties"]["reason"].update(
        anyOf=[{"type": "string"}]
    ),
    "a text must be shorter": lambda d, s: s["SignRequest"]["properties"]["description"].update(maxLength=10),
    "a list must be shorter": lambda d, s: s["SignRequest"]["properties"]["documents"].update(maxItems=100),
    "a text must be longer": lambda d, s: s["DocumentRequest"]["properties"]["name"].update(minLength=2),
    "a request may hold fewer values": lambda d, s: s["SignatureType"]["enum"].remove("CAdES"),
}
COMPATIBLE: dict[str, Edit] = {
    "a new operation": lambda d, s: d["paths"].update({"/new": {"get": {"operationId": "new", "responses": {}}}}),
    "a new status for a refusal": lambda d, s: sign(d)["responses"].update({"451": {"description": "no"}}),
    "a refusal is not given any more": lambda d, s: sign(d)["responses"].pop("408"),
    "a new optional parameter": lambda d, s: sign(d)["parameters"].append(
        {"name": "x", "in": "query", "schema": {"type": "string"}}
    ),
    "a body of another type is taken too": lambda d, s: sign(d)["requestBody"]["content"].update({"text/json": {}}),
    "a new field of a reply": lambda d, s: s["SignOperation"]["properties"].update(more={"type": "string"}),
    "a field of a reply is always there": lambda d, s: s["SignedDocument"]["required"].append("causeMessage"),
    "a new optional field of a request": lambda d, s: s["SignRequest"]["properties"].update(more={"type": "string"}),
    "a field of a request becomes optional": lambda d, s: s["SignRequest"]["required"].remove("description"),
    "a text may be longer": lambda d, s: s["DocumentRequest"]["properties"]["name"].update(maxLength=300),
    "any number of documents": lambda d, s: s["SignRequest"]["properties"]["documents"].pop("maxItems"),
    "a request may hold another value": lambda d, s: s["SignatureType"]["enum"].append("JAdES"),
    "a new type": lambda d, s: s.update(New={"type": "object"}),
}


def edited(edit: Edit) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    edit(document, document["components"]["schemas"])
    return document


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_clients_is_told(name: str) -> None:
    found = changes(DOCUMENT, edited(BREAKING[name]))
    assert any(change.breaking for change in found)
    assert str(found[0]).startswith("BREAKING: ")


@pytest.mark.parametrize("name", COMPATIBLE)
def test_a_change_that_clients_survive_is_told_as_such(name: str) -> None:
    found = changes(DOCUMENT, edited(COMPATIBLE[name]))
    assert found
    assert [str(change) for change in found if change.breaking] == []


def test_texts_examples_and_the_address_break_nobody() -> None:
    document = edited(lambda d, s: s["SignRequest"].update(description="x", examples=[]))
    document["info"]["version"] = "9"
    document["servers"] = [{"url": "https://seal.example"}]
    assert changes(DOCUMENT, document) == []


def test_a_breaking_change_is_written_only_if_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    assert "first time" in write(path)
    assert path.read_bytes() == current()
    older = json.dumps(edited(COMPATIBLE["a field of a request becomes optional"])).encode()
    path.write_bytes(older)
    with pytest.raises(SystemExit, match="SignRequest: description becomes mandatory"):
        write(path)
    assert path.read_bytes() == older
    assert "BREAKING" in write(path, breaking=True)
    assert path.read_bytes() == current()


def test_a_compatible_change_is_written(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_bytes(json.dumps(edited(BREAKING["a field of a request becomes mandatory"])).encode())
    assert "compatible: SignRequest: returnSignedContent becomes optional" in write(path)
    assert path.read_bytes() == current()


def test_the_digest_is_that_of_the_document_but_for_its_version() -> None:
    newer = DOCUMENT | {"info": DOCUMENT["info"] | {"version": "9"}}
    assert digest(newer) == digest(DOCUMENT)
    assert digest(edited(BREAKING["a type goes"])) != digest(DOCUMENT)
