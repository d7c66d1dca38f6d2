"""The types of the replies, and how they become JSON. The OpenAPI document is made from the same types.

Fields with their default value are left out. Fields whose names the contract may change are renamed last (`renamed`).
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Annotated, Any

import msgspec

from batchseal.api.offered_service import Document, Operation
from batchseal.operation import DocumentStatus, Mode, OperationStatus, SignError


class Struct(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Base of the reply types."""


def one_of(names: type[IntEnum]) -> msgspec.Meta:
    """Lists the values that a field can have, for the OpenAPI document."""
    return listed(member.name for member in names)


def listed(names: Iterable[str]) -> msgspec.Meta:
    """The same for names that are given; a name that is given twice is listed once."""
    return msgspec.Meta(extra_json_schema={"enum": list(dict.fromkeys(names))})


Status = Annotated[str, one_of(OperationStatus)]
Instant = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Registration(Struct):
    """The reply to an asynchronous request. `host` and `port` are those of `--server.host.port`."""

    id: int
    status: Status
    external_reference: str
    host: str
    port: int


class StatusEntry(Registration):
    """The status of an operation, with the numbers of its documents. `mode` is there where they did not come over HTTP."""

    creation_date: Instant
    documents_total: int
    documents_signed: int
    documents_failed: int
    mode: Annotated[str, listed([Mode.HOT_FOLDER.name])] | None = None


class Folder(Struct):
    folder_id: int
    external_reference: str
    description: str
    folder_content: str


class DocumentAttribute(Struct):
    """Something that is known of a document. `signatureLevel`: the level of its signature, such as T."""

    attribute_key: str
    attribute_value: str


class SignedDocument(Struct):
    """An entry of documentList. Lengths are in bytes.

    `additionalContentLength` is what the signed document has beyond its original. Of a signature that is a file of its own
    (CAdES, detached) it is the length.
    """

    external_reference: str
    name: str
    content_type: str
    internal_id: int
    sign_status: Annotated[str, one_of(DocumentStatus)]
    cipher_status: str
    storage_status: str
    content_length: int
    additional_content_length: int
    reception_date: Instant
    sign_error: Annotated[str, listed(error.label for error in SignError)] | None = None
    cause_message: str | None = None
    signed_content: str | None = None
    document_attributes: list[DocumentAttribute] = []


class SignOperation(Struct):
    """A finished operation, with its documents in the order of the request."""

    id: int
    type: str
    issuer_client_service_alias: str
    creation_date: Instant
    folder_external_reference: str
    folder: Folder
    document_list: list[SignedDocument]
    status: Status
    execution_time: int | None = None


class Token(msgspec.Struct):
    """A token reply (RFC 6749 5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    jti: str


class Health(msgspec.Struct):
    status: str
    checks: dict[str, str] = {}


class Problem(msgspec.Struct):
    """An error reply: the body of the original product and RFC 9457 in one. Only the token address sends `error` (RFC 6749)."""

    errorCodeDescription: str
    causeMessage: str
    type: str
    title: str
    status: int
    detail: str
    errorCode: str | None = None
    id: int | None = None
    error: str | None = None


def encode(reply: Any) -> bytes:
    """JSON in which the lower-case word `error` does not occur.

    A client in use takes a reply for a failure if that word stands anywhere in it. It is written `e\\u0072ror`, which every
    JSON parser reads as the same text. The first r is escaped, not the e: that e may be the last digit of another escape.
    """
    return msgspec.json.encode(reply).replace(b"error", b"e\\u0072ror")


def renamed(reply: Struct, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `reply`, under the names of `Contract.status` or `Contract.document`."""
    fields: dict[str, Any] = msgspec.to_builtins(reply)
    return {names.get(name, name): value for name, value in fields.items()}


def registration(
    operation: Operation, names: Mapping[str, str], advertised: tuple[str, int] | None = None
) -> dict[str, Any]:
    """The fields of a Registration. `advertised` is the address to give in place of that in the row."""
    host, port = advertised or (operation.host, operation.port)
    return renamed(
        Registration(
            id=operation.id,
            status=operation.status.name,
            external_reference=operation.external_reference,
            host=host,
            port=port,
        ),
        names,
    )


def status_entry(
    operation: Operation, names: Mapping[str, str], advertised: tuple[str, int] | None = None
) -> dict[str, Any]:
    """The fields of a StatusEntry. `advertised` is the address to give in place of that in the row."""
    host, port = advertised or (operation.host, operation.port)
    return renamed(
        StatusEntry(
            id=operation.id,
            status=operation.status.name,
            external_reference=operation.external_reference,
            host=host,
            port=port,
            creation_date=instant(operation),
            documents_total=operation.documents_total,
            documents_signed=operation.documents_signed,
            documents_failed=operation.documents_failed,
            mode=operation.mode.name if operation.mode is Mode.HOT_FOLDER else None,
        ),
        names,
    )


def signed_document(operation: Operation, document: Document, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an entry of documentList, without its content."""
    return renamed(
        SignedDocument(
            external_reference=document.external_reference,
            name=document.name,
            content_type=document.media_type,
            internal_id=operation.id * 1_000_000 + document.ordinal + 1,
            sign_status=document.status.name,
            sign_error=document.sign_error.label if document.sign_error else None,
            cause_message=cause_of(document) if document.cause else None,
            cipher_status="NO_CIPHER",
            storage_status="CONTENT_NOT_STORED",
            content_length=document.content_bytes,
            additional_content_length=document.additional_bytes,
            reception_date=instant(operation),
            document_attributes=attributes(document),
        ),
        names,
    )


def attributes(document: Document) -> list[DocumentAttribute]:
    return [] if document.level is None else [DocumentAttribute("signatureLevel", document.level.name)]


def cause_of(document: Document) -> str:
    """Why a document was not signed, for a person. It begins with the document's name, once."""
    cause, name = document.cause or "could not be signed", f"{document.name}: "
    # Rows that an earlier release has written hold the name already.
    return cause if cause.startswith(name) else name + cause


def sign_operation(operation: Operation, status: OperationStatus) -> dict[str, Any]:
    """The fields of a finished operation. documentList is empty: `result.py` streams it."""
    fields: dict[str, Any] = msgspec.to_builtins(
        SignOperation(
            id=operation.id,
            type="SIGN",
            issuer_client_service_alias=operation.client_service,
            creation_date=instant(operation),
            folder_external_reference=operation.external_reference,
            folder=Folder(
                folder_id=operation.id,
                external_reference=operation.external_reference,
                description=operation.description,
                folder_content="HASH",
            ),
            document_list=[],
            execution_time=execution_milliseconds(operation),
            status=status.name,
        )
    )
    return fields


def instant(operation: Operation) -> str:
    """The operation's creation date in ISO 8601, with offset and milliseconds."""
    return operation.created_at.isoformat(timespec="milliseconds")


def execution_milliseconds(operation: Operation) -> int | None:
    """From reception to the end of the operation; None if it is not finished. 0 for one that was sealed elsewhere before."""
    if operation.finished_at is None:
        return None
    return max(0, round((operation.finished_at - operation.created_at).total_seconds() * 1000))
