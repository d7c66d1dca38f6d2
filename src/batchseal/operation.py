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
# The code of the contract for a visible signature that cannot be drawn. The cause of such a document begins with it.
VISIBLE_CODE = "2.2.1"


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

    NOT_SIGNABLE lies in the document itself, so that another try cannot help. NOT_DRAWABLE is a visible signature that this
    document has no room for. The contract has no names of its own for them.
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
    NOT_DRAWABLE = 10

    @property
    def label(self) -> str:
        """The name that callers see."""
        return {9: "SIGN_OPERATION_INTERNAL_ERROR", 10: "CONFIGURATION_SIGN_ERROR"}.get(self, self.name)

    @property
    def stored(self) -> "SignError":
        """How it is stored: releases that do not know NOT_DRAWABLE read the name that callers see."""
        return SignError.CONFIGURATION_SIGN_ERROR if self is SignError.NOT_DRAWABLE else self

    @classmethod
    def read(cls, stored: int, cause: str) -> "SignError | None":
        """The one that was stored beside this cause; None for no error."""
        found = cls(stored) if stored else None
        is_drawing = found is cls.CONFIGURATION_SIGN_ERROR and cause.startswith(VISIBLE_CODE)
        return cls.NOT_DRAWABLE if is_drawing else found


class ContentType(IntEnum):
    """The type of a document's content. For OTHER, a media type stands beside it wherever it is kept."""

    PDF = 1
    TEXT_XML = 2
    APPLICATION_XML = 3
    OTHER = 4

    @property
    def media_type(self) -> str:
        """The media type that stands for it in requests and replies."""
        return {1: "application/pdf", 2: "text/xml", 3: "application/xml", 4: "application/octet-stream"}[self]

    @property
    def stored(self) -> "ContentType":
        """How it is stored: releases that do not know OTHER read XML, and refuse what they cannot do with it."""
        return ContentType.APPLICATION_XML if self is ContentType.OTHER else self

    @classmethod
    def read(cls, stored: int, media_type: str) -> "ContentType":
        """The one that was stored beside this media type, which is empty for all but OTHER."""
        return cls.OTHER if media_type else cls(stored)


class Mode(IntEnum):
    """How documents come and results go: the caller waits for the result in the same request (SYNC) or asks for it later (ASYNC),
    or the documents are files in a folder, and the results become files (HOT_FOLDER).
    """

    ASYNC = 1
    SYNC = 2
    HOT_FOLDER = 3

    @property
    def stored(self) -> "Mode":
        """How it is stored: releases that do not know HOT_FOLDER read ASYNC, and sign such operations all the same."""
        return Mode.ASYNC if self is Mode.HOT_FOLDER else self

    @property
    def entry(self) -> int:
        """What is stored beside it: 1 for HOT_FOLDER."""
        return int(self is Mode.HOT_FOLDER)

    @classmethod
    def read(cls, stored: int, entry: int) -> "Mode":
        """The one that was stored so."""
        return cls.HOT_FOLDER if entry == 1 else cls(stored)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: a client service that has been authenticated.

    `token` is set only in the mode without a configuration file, if the caller came with a Bearer token of the signing service.
    That token is used to sign the documents of this request, and never stored.
    """

    client_service: str
    token: str | None = None
