"""Plays the scenario (`scenario.py`) with the client of openapi-python-client."""

import json
import sys
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

from batchseal_client import AuthenticatedClient
from batchseal_client.api.operations import (
    document_by_id,
    documents_by_id,
    operation_of_document,
    result_by_id,
    result_by_reference,
    status_by_id,
    status_by_reference,
)
from batchseal_client.api.signing import register_files, register_json, sign_files, sign_json
from batchseal_client.api.tokens import token
from batchseal_client.models import (
    DocumentRequest,
    Problem,
    RegisterFilesBody,
    Registration,
    RequestedDocument,
    SignatureInfo,
    SignatureType,
    SignFilesBody,
    SignOperation,
    SignRequest,
    StatusEntry,
    Token,
    TokenBody,
    TokenBodyGrantType,
)
from batchseal_client.types import UNSET, File


class Player:
    """What one run of the scenario knows. `calls` is what it found."""

    def __init__(self, scenario: Path) -> None:
        self.told = json.loads(scenario.read_text())
        self.out, self.reference = Path(self.told["out"]), self.told["reference"]
        self.pdf = Path(self.told["pdf"]).read_bytes()
        self.calls: dict[str, list[Any]] = {}
        self.client = AuthenticatedClient(self.told["url"], token=self.token(), timeout=60)

    def request(self, name: str, *, documents: int = 1, content: bool = True) -> SignRequest:
        asked = [
            RequestedDocument(
                document_request=DocumentRequest(
                    external_reference=f"{self.reference} {name} {number}",
                    name=f"invoice-{number}.pdf",
                    content_type="application/pdf",
                    base_64_content=b64encode(self.pdf).decode() if content else UNSET,
                ),
                signature_info=SignatureInfo(signature_type=SignatureType.PADES, reason="Approved"),
            )
            for number in range(documents)
        ]
        return SignRequest(external_reference=f"{self.reference} {name}", description="a scenario", documents=asked)

    def file(self) -> File:
        return File(payload=BytesIO(self.pdf), file_name="invoice.pdf", mime_type="application/pdf")

    def note_result(self, call: str, reply: Any, kept: str = "") -> None:
        assert isinstance(reply.parsed, SignOperation), reply
        contents = [one.signed_content for one in reply.parsed.document_list if isinstance(one.signed_content, str)]
        self.calls[call] = [int(reply.status_code), f"{reply.parsed.status.value} {len(contents)}"]
        if kept:
            (self.out / kept).write_bytes(b64decode(contents[-1]))

    def note_file(self, call: str, reply: Any, kept: str) -> None:
        assert isinstance(reply.parsed, File), reply
        (self.out / kept).write_bytes(reply.parsed.payload.read())
        self.calls[call] = [int(reply.status_code), kept]

    def token(self) -> str:
        basic = b64encode(f"{self.told['id']}:{self.told['secret']}".encode()).decode()
        issued = token.sync_detailed(
            client=AuthenticatedClient(self.told["url"], token=basic, prefix="Basic"),
            body=TokenBody(grant_type=TokenBodyGrantType.CLIENT_CREDENTIALS),
        )
        assert isinstance(issued.parsed, Token), issued
        self.calls["token"] = [int(issued.status_code), issued.parsed.token_type]
        return str(issued.parsed.access_token)

    def sign(self) -> None:
        now = sign_json.sync_detailed(client=self.client, body=self.request("sign"))
        self.note_result("sign_json", now, "sign_json.pdf")
        two = self.request("files", documents=2, content=False)
        body = SignFilesBody(sign_request=two, files=[self.file(), self.file()])
        self.note_result("sign_files", sign_files.sync_detailed(client=self.client, body=body), "sign_files.pdf")

    def register(self) -> tuple[int, int]:
        """Registers two operations, one in each form. Returns their ids."""
        registered = register_json.sync_detailed(client=self.client, body=self.request("later"), prefer="respond-async")
        assert isinstance(registered.parsed, Registration), registered
        self.calls["register_json"] = [int(registered.status_code), registered.parsed.status.value]
        body = RegisterFilesBody(sign_request=self.request("files later", content=False), files=[self.file()])
        of_files = register_files.sync_detailed(client=self.client, body=body)
        assert isinstance(of_files.parsed, Registration), of_files
        self.calls["register_files"] = [int(of_files.status_code), of_files.parsed.status.value]
        return registered.parsed.id, of_files.parsed.id

    def wait(self, other_id: int) -> None:
        """Asks for the status of both operations, until they have ended."""
        entries = status_by_reference.sync_detailed(f"{self.reference} later", client=self.client, prefer="wait=30")
        assert isinstance(entries.parsed, list), entries
        self.calls["status_by_reference"] = [int(entries.status_code), entries.parsed[0].status.value]
        entry = status_by_id.sync_detailed(other_id, client=self.client, prefer="wait=30")
        assert isinstance(entry.parsed, StatusEntry), entry
        self.calls["status_by_id"] = [int(entry.status_code), entry.parsed.status.value]

    def fetch(self, operation_id: int) -> None:
        client = self.client
        by_reference = result_by_reference.sync_detailed(f"{self.reference} later", client=client)
        self.note_result("result_by_reference", by_reference, "result.pdf")
        self.note_result("result_by_id", result_by_id.sync_detailed(operation_id, False, client=client))
        self.note_file("documents_by_id", documents_by_id.sync_detailed(operation_id, client=client), "documents.zip")
        self.note_file("document_by_id", document_by_id.sync_detailed(operation_id, 0, client=client), "document.pdf")
        part = document_by_id.sync_detailed(operation_id, 0, client=client, range_="bytes=0-99")
        self.note_file("document_by_id, a range", part, "range.bin")

    def look_up(self, operation_id: int) -> None:
        found = operation_of_document.sync_detailed(f"{self.reference} later 0", client=self.client)
        named = "the operation" if found.parsed == operation_id else found.parsed
        self.calls["operation_of_document"] = [int(found.status_code), named]
        unknown = status_by_reference.sync_detailed(f"{self.reference} never", client=self.client)
        assert isinstance(unknown.parsed, Problem), unknown
        self.calls["status_by_reference, unknown"] = [int(unknown.status_code), unknown.parsed.error_code]


def main(scenario: Path) -> None:
    player = Player(scenario)
    player.sign()
    operation_id, other_id = player.register()
    player.wait(other_id)
    player.fetch(operation_id)
    player.look_up(operation_id)
    (player.out / "calls.json").write_text(json.dumps(player.calls))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
