"""The examples of the OpenAPI document. They are made from the types of requests and replies, so they cannot fall behind them.

The example of a request can be sent as it stands: its document is a PDF that the service signs.
"""

from base64 import b64encode
from typing import Any

import msgspec

from batchseal.api import schemas
from batchseal.api.contract import Contract
from batchseal.api.problem import Problems
from batchseal.api.request_schemas import DocumentRequest, RequestedDocument, SignatureInfo, SignRequest
from batchseal.errors import NotFound

REFERENCE = "FT 2021/5"
MOMENT = "2026-11-21T12:00:00.000+00:00"
OPERATION_ID = 7498


def examples(contract: Contract) -> dict[str, Any]:
    """An example for each type that is a whole body, by the name of the type."""
    entry = schemas.StatusEntry(
        **registered("EXECUTED"), creation_date=MOMENT, documents_total=1, documents_signed=1, documents_failed=0
    )
    problem = Problems(vendor_status_codes=False).body(
        NotFound(f"no operation has the external reference '{REFERENCE}'")
    )
    operation = msgspec.to_builtins(sign_operation())
    operation["documentList"] = [schemas.renamed(signed_document(), contract.document)]
    return {
        "SignRequest": msgspec.to_builtins(sign_request()),
        "Registration": schemas.renamed(schemas.Registration(**registered("PENDING_EXECUTION")), contract.status),
        "StatusEntry": schemas.renamed(entry, contract.status),
        "SignOperation": operation,
        "Token": msgspec.to_builtins(schemas.Token("eyJhbGciOi...", "bearer", 3600, "sign", "6f1c2f5e")),
        "Health": msgspec.to_builtins(schemas.Health("UP", {"database": "ok"})),
        "Problem": msgspec.json.decode(problem),
    }


def sign_request() -> SignRequest:
    asked = DocumentRequest(REFERENCE, "invoice.pdf", "application/pdf", b64encode(smallest_pdf()).decode())
    document = RequestedDocument(asked, SignatureInfo("PAdES", reason="Approved", location="Oeiras"))
    return SignRequest(REFERENCE, "Invoices of November", [document])


def registered(status: str) -> dict[str, Any]:
    """The fields of a Registration."""
    return {
        "id": OPERATION_ID,
        "status": status,
        "external_reference": REFERENCE,
        "host": "localhost",
        "port": 8080,
    }


def sign_operation() -> schemas.SignOperation:
    """A finished operation, without its document."""
    return schemas.SignOperation(
        id=OPERATION_ID,
        type="SIGN",
        issuer_client_service_alias="my-client-service",
        creation_date=MOMENT,
        folder_external_reference=REFERENCE,
        folder=schemas.Folder(OPERATION_ID, REFERENCE, "Invoices of November", "HASH"),
        document_list=[],
        status="EXECUTED",
        execution_time=412,
    )


def signed_document() -> schemas.SignedDocument:
    return schemas.SignedDocument(
        external_reference=REFERENCE,
        name="invoice.pdf",
        content_type="application/pdf",
        internal_id=OPERATION_ID * 1_000_000 + 1,
        sign_status="SIGNED",
        cipher_status="NO_CIPHER",
        storage_status="CONTENT_NOT_STORED",
        content_length=len(smallest_pdf()),
        additional_content_length=19_250,
        reception_date=MOMENT,
        signed_content="JVBERi0xLjcK...",
    )


def smallest_pdf() -> bytes:
    """One empty page, with a cross-reference table (ISO 32000-2 7.5.4)."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<<>>>>",
    )
    pdf, table = b"%PDF-1.7\n", b"0000000000 65535 f \n"
    for number, content in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(pdf)
        pdf += b"%d 0 obj%sendobj\n" % (number, content)
    end = b"trailer<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(pdf)
    return pdf + b"xref\n0 4\n" + table + end
