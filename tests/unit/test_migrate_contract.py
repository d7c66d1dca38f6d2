"""`batchseal migrate contract`: the vendor's OpenAPI document as a contract.toml, and what did not match."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness.openapi_copy import COPY

from batchseal.api.contract import load_contract
from batchseal.commands import migrate
from batchseal.errors import ConfigurationError


def imported(folder: Path, document: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, Path, str]:
    file, out = folder / "openapi.json", folder / "contract.toml"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    code = migrate.run(["contract", str(file), f"--out={out}"])
    return code, out, capsys.readouterr().out


def operation(fields: dict[str, Any] | None = None, *, files: bool = False) -> dict[str, Any]:
    body = {"content": {"multipart/form-data" if files else "application/json": {"schema": {"type": "object"}}}}
    schema = {"type": "object", "properties": fields or {}}
    return {"requestBody": body, "responses": {"200": {"content": {"application/json": {"schema": schema}}}}}


BASE = "/signstash/einvoice-integration-client-ws"
STATUS: dict[str, Any] = {
    "operationId": {},
    "id": {},
    "status": {},
    "externalReference": {},
    "host": {},
    "port": {},
    "creationDate": {},
}
VENDOR: dict[str, Any] = {
    "openapi": "3.0.1",
    "servers": [{"url": f"https://proxy.example{BASE}"}],
    "paths": {
        "/api/v0/document/sign/base64/": {"post": operation({"documentList": {"$ref": "#/components/schemas/List"}})},
        "/api/v0/document/sign/": {"post": operation(files=True)},
        "/api/v0/document/async/sign/base64": {"post": operation(STATUS)},
        "/api/v0/document/async/sign": {"post": operation(STATUS, files=True)},
        "/api/v0/operation/async/status/withExternalReference/{extRef}": {
            "get": operation(STATUS | {"documentTotal": {}, "signedDocuments": {}})
        },
        "/api/v0/operation/status/{operationId}": {"get": operation(STATUS)},
        "/api/v0/operation/sign/detail/{operationId}/contentInResponse/{contentInResponse}": {"get": operation()},
        "/api/v0/operation/sign/detail/{id}/documents": {"get": operation()},
        "/api/v0/backoffice/dashboard": {"get": operation()},
    },
    "components": {"schemas": {"List": {"type": "array", "items": {"properties": {"causeMessage": {}, "name": {}}}}}},
}


def test_our_own_document_says_what_ours_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, said = imported(tmp_path, COPY.read_text(), capsys)
    own, read = load_contract(), load_contract(str(out))
    assert read.routes == own.routes and read.status == own.status and read.version == own.version
    assert f"{len(own.routes)} routes are the same" in said
    assert "not in the document" not in said.replace("not in the document   base", "")


def test_a_document_of_another_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = imported(tmp_path, VENDOR, capsys)
    read = load_contract(str(out))
    assert read.routes["register_json"].template == "/document/async/sign/base64"
    assert read.routes["register_files"].template == "/document/async/sign"
    assert (
        read.routes["status_by_reference"].template
        == "/operation/async/status/withExternalReference/{externalReference}"
    )
    assert read.routes["status_by_id"].template == "/operation/status/{id}"
    assert read.status["documentsTotal"] == "documentTotal"
    assert read.bases[0] == BASE and code == 1
    same = [line for line in said.splitlines() if line.startswith("the same")]
    assert any("sign_json" in line for line in same) and any("documents_by_id" in line for line in same)
    assert "alike, look at it     register_json: ours is POST async/document/sign/base64" in said
    assert "not answered here     GET /signstash/einvoice-integration-client-ws/api/v0/backoffice/dashboard" in said
    assert "not in the document   route evidence_record" in said
    assert "# Look at this: register_json" in out.read_text()


def test_a_document_of_version_2_with_another_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "swagger": "2.0",
        "basePath": "/other/ws",
        "paths": {
            "/api/v1/document/sign/base64": {"post": {"consumes": ["application/json"], "responses": {}}},
            "/api/v1/document/sign": {"post": {"parameters": [{"in": "formData", "name": "files"}], "responses": {}}},
        },
    }
    _, out, said = imported(tmp_path, document, capsys)
    read = load_contract(str(out))
    assert read.bases == ("/other/ws", *load_contract().bases) and read.version == "/api/v1"
    assert "base path: ours is" in said and "does not describe these replies" in said


def test_parameters_that_cannot_be_told_apart_are_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"paths": {"/api/v0/operation/sign/detail/{a}/contentInResponse/{b}": {"get": operation()}}}
    _, out, said = imported(tmp_path, document, capsys)
    assert "route result_by_id: its parameters a, b are not ours" in said
    assert load_contract(str(out)).routes == load_contract().routes


@pytest.mark.parametrize("text", ["openapi: 3.0.1", "[]", '{"paths": 7}', '{"openapi": "3.0.1"}'])
def test_what_is_no_document(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"openapi\.json"):
        imported(tmp_path, text, capsys)


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "contract.toml").write_text("# changed by hand\n")
    with pytest.raises(ConfigurationError, match="is there already"):
        imported(tmp_path, VENDOR, capsys)
    assert (tmp_path / "contract.toml").read_text() == "# changed by hand\n"


def test_circles_of_references_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = {"$ref": "#/components/schemas/A"}
    schemas = {
        "A": {"properties": {"a": loop, "b": {"$ref": "#/components/schemas/B"}}},
        "B": {"$ref": "#/components/schemas/B"},
    }
    document = {
        "paths": {"/api/v0/document/sign/base64": {"post": operation({"x": loop})}},
        "components": {"schemas": schemas},
    }
    code, _, _ = imported(tmp_path, document, capsys)
    assert code == 1
