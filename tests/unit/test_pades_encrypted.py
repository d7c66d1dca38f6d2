"""PAdES of encrypted documents, from the request to the packaged file."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness.validators import pyhanko_verify
from harness.validators.local_signer import local_signer
from harness.validators.samples import document
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.support.encrypted_pdf import KINDS, encrypted

from batchseal.document import Credential, Description, Evidence, Prepared, Refusal, Stretch
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType, SignError

KNOWN = [name for name, kind in KINDS.items() if kind.known_to_pyhanko]


def credential() -> Credential:
    return Credential("c", (local_signer().certificate.dump(),), "rsa", 256, "sha256", b"f" * 32)


def prepared(content: bytes) -> Prepared | Refusal:
    wanted = Description("d", "a.pdf", ContentType.PDF, "Motivo", "Lisboa")
    (result,) = Pades().prepare([(0, wanted, content)], credential(), datetime.now(UTC))
    return result


@pytest.mark.parametrize("kind", KNOWN)
def test_a_document_that_opens_without_a_password_is_signed_and_stays_encrypted(kind: str, tmp_path: Path) -> None:
    content = encrypted(kind, document())
    found = prepared(content)
    assert isinstance(found, Prepared)
    signature = local_signer().key.sign(found.digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    packaged = Pades().package(content, found, Evidence(signature), credential())
    path = tmp_path / "signed.pdf"
    path.write_bytes(b"".join(bytes(memoryview(part)) for part in packaged.segments if not isinstance(part, Stretch)))
    verdicts = pyhanko_verify(path, local_signer().root_der)
    assert [verdict.good for verdict in verdicts] == [True], verdicts
    reader = PdfFileReader(io.BytesIO(path.read_bytes()))
    assert reader.encrypted
    reader.decrypt("")
    assert str(reader.embedded_signatures[0].sig_object["/Location"]) == "Lisboa"


def test_the_cause_of_a_refusal_says_what_is_missing() -> None:
    locked = encrypted("AES-128", document(), user="secret")
    restricted = encrypted("AES-128", document(), permissions=0xFFFFF0C0)
    for content, told in ((locked, "a password"), (restricted, "owner forbids")):
        found = prepared(content)
        assert isinstance(found, Refusal)
        assert found.sign_error is SignError.NOT_SIGNABLE
        assert told in found.cause
