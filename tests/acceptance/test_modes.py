"""Other ways to run it: several workers, somebody else's signing service, callers with tokens of that service."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.sandbox import running_sandbox
from harness.service import RunningService

from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.http import Client
from batchseal.client.seal import seal_batch
from batchseal.settings.client_services import ClientServices

BASE = "/signstash/einvoice-integration-client-ws/api/v0"


@dataclass(frozen=True)
class SigningService:
    address: str
    services_file: Path

    def credentials(self) -> tuple[str, str]:
        entry = next(iter(ClientServices.load(self.services_file)))
        return entry.id, entry.secret

    def token(self) -> str:
        url = f"{self.address}/oauth2/authorization-server/oauth/token"
        reply = requests.post(url, auth=self.credentials(), data={"grant_type": "client_credentials"}, timeout=120)
        return str(reply.json()["access_token"])


@pytest.fixture(scope="module")
def signing_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningService]:
    """A signing service that the proxy did not start: the sandbox as a program of its own."""
    folder = tmp_path_factory.mktemp("remote")
    with running_sandbox(folder, "--credential=p256") as sandbox:
        yield SigningService(sandbox.address, sandbox.services)


def body(content: bytes, reference: str) -> dict[str, Any]:
    document = {"externalReference": "d", "name": "a.pdf", "contentType": "application/pdf"}
    document["base64Content"] = base64.b64encode(content).decode()
    entry = {"documentRequest": document, "signatureInfo": {"signatureType": "PAdES"}}
    return {"externalReference": reference, "description": "x", "documents": [entry]}


def test_without_a_configuration_file_a_callers_token_signs_its_own_request(
    signing_service: SigningService, invoices: list[Path]
) -> None:
    content = invoices[0].read_bytes()
    with RunningService(f"--service-domain={signing_service.address}") as service:
        bearer = {"Authorization": f"Bearer {signing_service.token()}"}
        url = service.url + BASE
        reply = requests.post(f"{url}/document/sign/base64/", json=body(content, "own"), headers=bearer, timeout=120)
        assert reply.status_code == 200, reply.text[:500]
        assert reply.json()["status"] == "EXECUTED"
        assert base64.b64decode(reply.json()["documentList"][0]["signedContent"]).startswith(content)
        later = requests.post(
            f"{url}/async/document/sign/base64/", json=body(content, "own 2"), headers=bearer, timeout=120
        )
        assert later.json()["errorCode"] == "0.0.3"
        forged = {"Authorization": "Bearer forged"}
        refused = requests.post(
            f"{url}/document/sign/base64/", json=body(content, "own 3"), headers=forged, timeout=120
        )
        assert (refused.status_code, refused.json()["errorCode"]) == (401, "0.0.10")
        token = bearer["Authorization"].split()[1].encode()
        for path in (service.folder / "temp").rglob("*"):
            if path.is_file():
                assert token not in path.read_bytes(), f"the caller's token was stored in {path}"


def test_two_workers_and_a_foreign_token(signing_service: SigningService, invoices: list[Path], tmp_path: Path) -> None:
    work = tmp_path / "service" / "work"
    work.mkdir(parents=True)
    client_id, secret = signing_service.credentials()
    (work / "client-services-config.json").write_text(json.dumps({client_id: {"secret": secret}}))
    flags = (f"--service-domain={signing_service.address}", "--workers=2")
    with RunningService(*flags, folder=tmp_path / "service") as service:
        # Connections land on either worker: several requests, several calls each.
        for number in range(4):
            client = Client(service.url, client_id, secret)
            batch = BatchBody(find_documents(invoices[:6]), f"two workers {number}", "x")
            result = seal_batch(client, batch, tmp_path / f"out {number}", lambda *_: None)
            client.close()
            assert len(result.signed) == 6
        # A token of the signing service only authenticates; the configured secret signs.
        client = Client(service.url, "", "", token=signing_service.token())
        batch = BatchBody(find_documents(invoices[:2]), "foreign token", "x")
        assert len(seal_batch(client, batch, tmp_path / "out foreign", lambda *_: None).signed) == 2
        client.close()
