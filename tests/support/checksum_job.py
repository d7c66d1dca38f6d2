"""Texts that are signed by the format of `checksum_format`, and what must be true of the result."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness.service import RunningService
from tests.support.checksum_app import MODULE
from tests.support.files_first import files_first

start = partial(RunningService, module=MODULE)


def texts(count: int) -> list[bytes]:
    return [f"<text number='{number}'>{'line ' * (number * 100)}</text>".encode() for number in range(count)]


def is_stamped(number: int) -> bool:
    """Every other document is asked for with a time stamp."""
    return number % 2 == 1


def entry(number: int, text: bytes) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": f"text {number}",
            "name": f"text-{number}.xml",
            "contentType": "text/xml",
            "base64Content": base64.b64encode(text).decode(),
        },
        "signatureInfo": {"signatureType": "CAdES", "applyTimestamp": is_stamped(number)},
    }


def request(reference: str, contents: Sequence[bytes]) -> dict[str, Any]:
    documents = [entry(number, text) for number, text in enumerate(contents)]
    return {"externalReference": reference, "description": "checksums", "documents": documents}


def body(reference: str, contents: Sequence[bytes]) -> bytes:
    return json.dumps(request(reference, contents)).encode()


def parts(reference: str, contents: Sequence[bytes]) -> tuple[bytes, str]:
    """The same with the files before their description, and its media type."""
    return files_first(request(reference, contents), contents)


def judge_signed(document: bytes, text: bytes, *, stamped: bool) -> None:
    """The signature is one of this text, by the certificate that stands beside it; so is the time stamp of the signature."""
    detached = json.loads(document)
    assert text not in document
    assert detached["digest"] == hashlib.sha256(text).hexdigest()
    certificate = x509.load_der_x509_certificate(base64.b64decode(detached["certificates"][0]))
    key, signature = certificate.public_key(), base64.b64decode(detached["signature"])
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, hashlib.sha256(text).digest(), ec.ECDSA(Prehashed(hashes.SHA256())))
    assert len(detached["timeStamps"]) == stamped
    for token in detached["timeStamps"]:
        signed_data = cms.ContentInfo.load(base64.b64decode(token))["content"]
        stamp = signed_data["encap_content_info"]["content"].parsed
        assert stamp["message_imprint"]["hashed_message"].native == hashlib.sha256(signature).digest()
