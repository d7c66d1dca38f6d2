"""The states of an operation and of its documents, as callers see them and as the database stores them.

          register                    every document signed
    (new) ────────► PENDING_EXECUTION ─────────────────────► EXECUTED
                       │        ▲  │
           a try fails │        │  │ given up on at least one document
                       ▼        │  ▼
                  EXECUTION_ERROR ──────────────────────────► EXECUTION_FAILED

The names are those of the wire contract. The numbers are stored in the database, so they must never change.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Form = Literal["json", "multipart"]  # the form of a request's body


class OperationStatus(IntEnum):
    """The state of an operation."""

    PENDING_EXECUTION = 1
    EXECUTED = 2  # every document is SIGNED
    EXECUTION_ERROR = 3  # a try has failed, and another one will follow
    EXECUTION_FAILED = 4  # at least one document could not be signed

    @property
    def finished(self) -> bool:
        """Whether this state is final."""
        return self in (OperationStatus.EXECUTED, OperationStatus.EXECUTION_FAILED)


class DocumentStatus(IntEnum):
    """The state of a document. RECEIVED is the only one that is not final."""

    RECEIVED = 1
    SIGNED = 2
    ERROR_SIGNING = 3


class SignError(IntEnum):
    """Why a document could not be signed. `label` is the `signError` of the wire contract.

    NOT_SIGNABLE lies in the document itself, so that another try cannot help. The contract has no name of its own for it.
    """

    INVALID_CERT_SERVICE_CREDS = 1
    INVALID_CERT_ACCESS_ACCOUNT = 2
    CERT_SERVICE_GLOBAL_ERROR = 3
    CONFIGURATION_SIGN_ERROR = 4
    TIMESTAMP_SIGN_ERROR = 5
    INVALID_CERTIFICATE_SIGN_ERROR = 6
    STORAGE_SERVICE_GLOBAL_ERROR = 7
    SIGN_OPERATION_INTERNAL_ERROR = 8
    NOT_SIGNABLE = 9

    @property
    def label(self) -> str:
        """The name that callers see."""
        return SignError.SIGN_OPERATION_INTERNAL_ERROR.name if self is SignError.NOT_SIGNABLE else self.name


class ContentType(IntEnum):
    """The type of a document's content."""

    PDF = 1
    TEXT_XML = 2
    APPLICATION_XML = 3

    @property
    def media_type(self) -> str:
        """The media type that stands for it in requests and replies."""
        return {1: "application/pdf", 2: "text/xml", 3: "application/xml"}[self]


class Mode(IntEnum):
    """Whether the caller waits for the result in the same request (SYNC) or asks for it later (ASYNC)."""

    ASYNC = 1
    SYNC = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: a client service that has been authenticated.

    `token` is set only in the mode without a configuration file, if the caller came with a Bearer token of the signing service.
    That token is used to sign the documents of this request, and never stored.
    """

    client_service: str
    token: str | None = None
