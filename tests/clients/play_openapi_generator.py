"""Plays the scenario (`scenario.py`) with the client that OpenAPI Generator makes for Python."""

import json
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from batchseal_api import ApiClient, Configuration, OperationsApi, SigningApi, TokensApi
from batchseal_api.exceptions import NotFoundException
from batchseal_api.models import (
    DocumentRequest,
    RequestedDocument,
    SignatureInfo,
    SignatureType,
    SignOperation,
    SignRequest,
)


class Player:
    """What one run of the scenario knows. `calls` is what it found."""

    def __init__(self, scenario: Path) -> None:
        self.told = json.loads(scenario.read_text())
        self.out, self.reference = Path(self.told["out"]), self.told["reference"]
        self.pdf = Path(self.told["pdf"]).read_bytes()
        self.calls: dict[str, list[Any]] = {}
        client = ApiClient(Configuration(host=self.told["url"], access_token=self.token()))
        self.signing, self.operations = SigningApi(client), OperationsApi(client)

    def request(self, name: str, *, documents: int = 1, content: bool = True) -> SignRequest:
        asked = [
            RequestedDocument(
                document_request=DocumentRequest(
                    external_reference=f"{self.reference} {name} {number}",
                    name=f"invoice-{number}.pdf",
                    content_type="application/pdf",
                    base64_content=b64encode(self.pdf).decode() if content else None,
                ),
                signature_info=SignatureInfo(signature_type=SignatureType.PADES, reason="Approved"),
            )
            for number in range(documents)
        ]
        return SignRequest(external_reference=f"{self.reference} {name}", description="a scenario", documents=asked)

    def note_result(self, call: str, reply: Any, kept: str = "") -> None:
        assert isinstance(reply.data, SignOperation), reply
        contents = [one.signed_content for one in reply.data.document_list if one.signed_content is not None]
        self.calls[call] = [reply.status_code, f"{reply.data.status.value} {len(contents)}"]
        if kept:
            (self.out / kept).write_bytes(b64decode(contents[-1]))

    def note_file(self, call: str, reply: Any, kept: str) -> None:
        assert isinstance(reply.data, bytes | bytearray), reply
        (self.out / kept).write_bytes(reply.data)
        self.calls[call] = [reply.status_code, kept]

    def token(self) -> str:
        identified = Configuration(host=self.told["url"], username=self.told["id"], password=self.told["secret"])
        issued = TokensApi(ApiClient(identified)).token_with_http_info(grant_type="client_credentials")
        self.calls["token"] = [issued.status_code, issued.data.token_type]
        return str(issued.data.access_token)

    def sign(self) -> None:
        now = self.signing.sign_json_with_http_info(self.request("sign"))
        self.note_result("sign_json", now, "sign_json.pdf")
        two = self.signing.sign_files_with_http_info(
            files=[("invoice.pdf", self.pdf), ("invoice.pdf", self.pdf)],
            sign_request=self.request("files", documents=2, content=False),
        )
        self.note_result("sign_files", two, "sign_files.pdf")

    def register(self) -> tuple[int, int]:
        """Registers two operations, one in each form. Returns their ids."""
        registered = self.signing.register_json_with_http_info(self.request("later"), prefer="respond-async")
        self.calls["register_json"] = [registered.status_code, registered.data.status.value]
        of_files = self.signing.register_files_with_http_info(
            files=[("invoice.pdf", self.pdf)], sign_request=self.request("files later", content=False)
        )
        self.calls["register_files"] = [of_files.status_code, of_files.data.status.value]
        return registered.data.id, of_files.data.id

    def wait(self, other_id: int) -> None:
        """Asks for the status of both operations, until they have ended."""
        entries = self.operations.status_by_reference_with_http_info(f"{self.reference} later", prefer="wait=30")
        self.calls["status_by_reference"] = [entries.status_code, entries.data[0].status.value]
        entry = self.operations.status_by_id_with_http_info(other_id, prefer="wait=30")
        self.calls["status_by_id"] = [entry.status_code, entry.data.status.value]

    def fetch(self, operation_id: int) -> None:
        api = self.operations
        by_reference = api.result_by_reference_with_http_info(f"{self.reference} later")
        self.note_result("result_by_reference", by_reference, "result.pdf")
        self.note_result("result_by_id", api.result_by_id_with_http_info(operation_id, False))
        self.note_file("documents_by_id", api.documents_by_id_with_http_info(operation_id), "documents.zip")
        self.note_file("document_by_id", api.document_by_id_with_http_info(operation_id, 0), "document.pdf")
        part = api.document_by_id_with_http_info(operation_id, 0, range="bytes=0-99")
        self.note_file("document_by_id, a range", part, "range.bin")

    def look_up(self, operation_id: int) -> None:
        found = self.operations.operation_of_document_with_http_info(f"{self.reference} later 0")
        named = "the operation" if found.data == operation_id else found.data
        self.calls["operation_of_document"] = [found.status_code, named]
        try:
            self.operations.status_by_reference(f"{self.reference} never")
        except NotFoundException as refusal:
            self.calls["status_by_reference, unknown"] = [refusal.status, refusal.data.error_code]


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
