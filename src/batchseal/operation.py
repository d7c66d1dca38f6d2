"""States of an operation and of its documents, as callers see them and as the database stores them.

          register                    every document signed
    (new) ────────► PENDING_EXECUTION ─────────────────────► EXECUTED
                       │        ▲  │
           a try fails │        │  │ given up on at least one document
                       ▼        │  ▼
                  EXECUTION_ERROR ──────────────────────────► EXECUTION_FAILED

The names are the wire contract's; the numbers are what a row holds.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Form = Literal["json", "multipart"]  # of a request's body


class OperationStatus(IntEnum):
    PENDING_EXECUTION = 1
    EXECUTED = 2  # every document is SIGNED, nothing less
    EXECUTION_ERROR = 3  # will be tried again
    EXECUTION_FAILED = 4  # given up on at least one document

    @property
    def finished(self) -> bool:
        return self in (OperationStatus.EXECUTED, OperationStatus.EXECUTION_FAILED)


class DocumentStatus(IntEnum):
    RECEIVED = 1
    SIGNED = 2
    ERROR_SIGNING = 3


class SignError(IntEnum):
    INVALID_CERT_SERVICE_CREDS = 1
    INVALID_CERT_ACCESS_ACCOUNT = 2
    CERT_SERVICE_GLOBAL_ERROR = 3
    CONFIGURATION_SIGN_ERROR = 4
    TIMESTAMP_SIGN_ERROR = 5
    INVALID_CERTIFICATE_SIGN_ERROR = 6
    STORAGE_SERVICE_GLOBAL_ERROR = 7
    SIGN_OPERATION_INTERNAL_ERROR = 8


class ContentType(IntEnum):
    PDF = 1
    TEXT_XML = 2
    APPLICATION_XML = 3

    @property
    def media_type(self) -> str:
        return {1: "application/pdf", 2: "text/xml", 3: "application/xml"}[self]


class Mode(IntEnum):
    ASYNC = 1
    SYNC = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a client service that has proved itself.

    `token` is set only for a foreign Bearer in the mode without a configuration file: it signs its own request and is
    never stored.
    """

    client_service: str
    token: str | None = None
