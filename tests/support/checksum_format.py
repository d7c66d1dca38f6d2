"""A signature format that exists only in the tests: a detached signature over the digest of a text.

It shows that a format is added by one file and one line in the registry. The signed document is a small JSON document and does
not contain the text: its length is not that of the original plus something.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchseal.document import (
    MAX_TIME_STAMP_BYTES,
    Credential,
    Description,
    Evidence,
    Prepared,
    Refusal,
    SignedDocument,
    Stretch,
)
from batchseal.errors import ItemRejected
from batchseal.formats.interface import Memory, Need, NeedKind, Original, unbooked
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "checksum"
# A text that holds these bytes cannot be signed.
REFUSED = b"\0"


def longest_bytes(credential: Credential, level: Level) -> int:
    """How long a signed document can be at most."""
    binary = sum(map(len, credential.chain)) + credential.signature_bytes
    binary += MAX_TIME_STAMP_BYTES if level >= Level.T else 0
    return 2 * binary + 1000


class Checksum:
    """A `SignatureFormat`."""

    name = NAME
    signs = frozenset({(SignatureType.CADES, ContentType.TEXT_XML)})

    def offers(self, wanted: Description) -> Refusal | None:
        if wanted.level > Level.T:
            return Refusal(
                SignError.CONFIGURATION_SIGN_ERROR, f"{wanted.name}: level {wanted.level.name} is not offered"
            )
        return None

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = MAX_TIME_STAMP_BYTES,
        memory: Memory = unbooked,
    ) -> list[Prepared | Refusal]:
        return [self._prepared(*original, credential, signing_time) for original in originals]

    def _prepared(
        self, ordinal: int, wanted: Description, content: "Buffer", credential: Credential, signing_time: datetime
    ) -> Prepared | Refusal:
        if REFUSED in bytes(content):
            return Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR, f"{wanted.name}: the text holds a zero byte")
        digest = hashlib.new(credential.digest_algorithm, content).digest()
        return Prepared(
            ordinal=ordinal,
            format=NAME,
            digest=digest,
            document_digest=digest,
            fingerprint=credential.fingerprint,
            level=wanted.level,
            additional_bytes=longest_bytes(credential, wanted.level),
            plan=signing_time.isoformat().encode(),
            time_stamp_bytes=MAX_TIME_STAMP_BYTES,  # the token stands beside the text, so it may have any length
        )

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        if prepared.level >= Level.T and not evidence.time_stamps:
            return Need(NeedKind.TIME_STAMP, hashlib.sha256(evidence.signature).digest())
        return None

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        return prepared.additional_bytes

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        if prepared.level >= Level.T and not evidence.time_stamps:
            raise ItemRejected("the time stamp is missing")
        detached: dict[str, Any] = {
            "algorithm": credential.digest_algorithm,
            "digest": prepared.document_digest.hex(),
            "preparedAt": prepared.plan.decode(),
            "signature": base64.b64encode(evidence.signature).decode(),
            "certificates": [base64.b64encode(one).decode() for one in credential.chain],
            "timeStamps": [base64.b64encode(one).decode() for one in evidence.time_stamps],
        }
        document = json.dumps(detached, indent=1).encode()
        return SignedDocument(prepared.ordinal, (document,), len(document))
