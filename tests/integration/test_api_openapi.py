"""The replies of the service match its OpenAPI document."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from tests.support.api_service import BASE, Service, sign_request
from tests.support.api_worker import RECORD


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("api"))
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    return requests.get(service.url + BASE.removesuffix("/api/v0") + "/openapi.json").json()


# What the document calls application/octet-stream has the type of what it holds.
REAL_BINARY_TYPES = ("application/pdf", "text/xml", "application/xml", "application/zip", "application/octet-stream")


def check(document: dict[str, Any], operation_id: str, reply: requests.Response) -> None:
    """Asserts that the document describes the reply's status, its media type, and each key of its body."""
    operations = [verb for path in document["paths"].values() for verb in path.values()]
    operation = next(verb for verb in operations if verb["operationId"] == operation_id)
    described = operation["responses"][str(reply.status_code)]["content"]
    media_type = reply.headers["content-type"].partition(";")[0]
    if media_type in REAL_BINARY_TYPES:
        assert described == {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return
    schema = described[media_type]["schema"]
    if media_type == "text/plain":
        assert schema == {"type": "string"}
    else:
        strict = {
            name: table | {"additionalProperties": False} if table.get("properties") else table
            for name, table in document["components"]["schemas"].items()
        }
        whole = schema | {"components": {"schemas": strict}}
        jsonschema.Draft202012Validator(whole).validate(reply.json())


def test_replies_fit_the_document(service: Service, document: dict[str, Any]) -> None:
    sync = service.post("/document/sign/base64/", json=sign_request("sync", "a.pdf", "refused.pdf", "damaged.pdf"))
    assert sync.status_code == 200
    registered = service.post("/async/document/sign/base64/", json=sign_request("async", "a.pdf"))
    detail = f"/operation/sign/detail/{registered.json()['id']}"
    part = {"Range": "bytes=0-1"}
    recorded = [
        service.post("/async/document/sign/base64/?evidenceRecord=true", json=sign_request(name, name, "a.pdf"))
        for name in ("recorded", "late-record", "no-record", "plain")
    ]
    replies = {
        "sign_json": [sync, service.post("/document/sign/base64/", json={})],
        "register_json": [registered, service.post("/async/document/sign/base64/", json=sign_request("async", "a"))],
        "register_files": [
            service.post("/async/document/sign/", files={"files": b""}, headers={"Prefer": "respond-async"})
        ],
        "status_by_reference": [service.get("/async/operation/status/withExternalReference/async")],
        "status_by_id": [
            service.get(f"/operation/status/{registered.json()['id']}"),
            service.get("/operation/status/1"),
        ],
        "result_by_reference": [service.get("/async/operation/sign/detail/withExternalReference/sync")],
        "result_by_id": [service.get(f"{detail}/contentInResponse/{content}") for content in ("true", "false")],
        "documents_by_id": [service.get(f"{detail}/documents")],
        "document_by_id": [
            service.get(f"{detail}/documents/0"),
            service.get(f"{detail}/documents/0", headers=part),
            service.get(f"{detail}/documents/0", headers={"Range": "bytes=99999999-"}),
        ],
        "evidence_record": [
            service.get(f"/operation/sign/detail/{made.json()['id']}/documents/{ordinal}/evidenceRecord")
            for made in recorded
            for ordinal in (0, 1)
        ],
        "operation_of_document": [service.get("/operation/id/withDocumentExternalReference/Ext_Ref_constant")],
        "live": [requests.get(service.url + "/health/live")],
        "ready": [requests.get(service.url + "/health/ready")],
        "metrics": [requests.get(service.url + "/metrics")],
    }
    token = service.url + "/oauth2/authorization-server/oauth/token"
    replies["token"] = [requests.post(token, auth=("one", secret)) for secret in ("s1", "wrong")]
    for operation_id, of_operation in replies.items():
        for reply in of_operation:
            check(document, operation_id, reply)
    records = replies["evidence_record"]
    assert [one.status_code for one in records] == [200, 404, 409, 409, 410, 410, 404, 404]
    assert records[0].content == RECORD and records[2].headers["Retry-After"] == "7"
    archive = service.get(f"/operation/sign/detail/{recorded[0].json()['id']}/documents")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as entries:
        (first, record, other), content = entries.namelist(), entries.read(entries.namelist()[1])
    assert (record, content) == (f"{first}.ers", RECORD) and not other.endswith(".ers")


def test_the_document_names_the_address_that_replies_advertise(tmp_path: Path) -> None:
    service = Service(tmp_path / "advertised", advertised_address="seal.example:8443")
    try:
        document = requests.get(service.url + BASE.removesuffix("/api/v0") + "/openapi.json").json()
        assert document["servers"][0]["url"] == "http://seal.example:8443"
    finally:
        assert service.stop() == 0


def test_the_page_of_the_document_calls_the_host_that_it_came_from(service: Service) -> None:
    base = service.url + BASE.removesuffix("/api/v0")
    start = requests.get(base + "/swagger-ui/start.js").text
    assert f'fetch("{BASE.removesuffix("/api/v0")}/openapi.json")' in start
    assert "spec.servers = [{url: window.location.origin}]" in start
