"""The level of signatures by the file of client services of a running service, which is read again when it has changed."""

import base64
import json
import os
import ssl
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.invoices import invoice
from harness.service import RunningService
from harness.validators import judging, pdfsig_verify
from harness.waiting import until
from tests.support.long_term import cades_level, xades_level
from tests.support.pdf_levels import pdf_level
from tests.support.service import FAST, SYNC, credentials
from tests.support.xml_documents import INVOICE

CONTENTS = {
    "PAdES": (invoice(1, size_bytes=4_000), "application/pdf"),
    "XAdES": (INVOICE.encode(), "application/xml"),
    "CAdES": (bytes(range(256)), "application/octet-stream"),
}
NUMBERS = count()


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with RunningService(*FAST) as running:
        yield running


def configure(service: RunningService, level: str | None) -> None:
    """Replaces the file, as an operator's tool does."""
    path = service.services_file
    entries = json.loads(path.read_text())
    for one in entries.values():
        one.pop("signature", None)
        if level is not None:
            one["signature"] = {"level": level}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(entries))
    os.chmod(new, path.stat().st_mode & 0o777)
    os.replace(new, path)


def sign(service: RunningService, *kinds: str, asked: str | None = None) -> list[tuple[str, bytes]]:
    """The level that the reply names for each document, and the signed document."""
    number, documents = next(NUMBERS), []
    for ordinal, kind in enumerate(kinds):
        content, media_type = CONTENTS[kind]
        request = {
            "externalReference": f"{number}.{ordinal}",
            "name": f"{kind}.file",
            "contentType": media_type,
            "base64Content": base64.b64encode(content).decode(),
        }
        info = {"signatureType": kind, **({"signatureLevel": asked} if asked else {})}
        documents.append({"documentRequest": request, "signatureInfo": info})
    body: dict[str, Any] = {"externalReference": f"level {number}", "description": "d", "documents": documents}
    reply = requests.post(service.url + SYNC, json=body, auth=credentials(service), timeout=120)
    assert reply.status_code == 200, reply.text[:500]
    signed = []
    for one in reply.json()["documentList"]:
        attributes = {each["attributeKey"]: each["attributeValue"] for each in one["documentAttributes"]}
        signed.append((attributes["signatureLevel"], base64.b64decode(one["signedContent"])))
    return signed


def judge(service: RunningService, level: str, signed: list[tuple[str, bytes]], folder: Path) -> None:
    """All three have the level, and not only by the reply."""
    assert [named for named, _ in signed] == [level] * 3
    root_pem = service.root.read_bytes()
    pdf, xml, cms = (content for _, content in signed)
    assert pdf_level(pdf, ssl.PEM_cert_to_DER_cert(root_pem.decode())) == level
    assert xades_level(xml) == level
    assert cades_level(cms, CONTENTS["CAdES"][0]) == level
    (path := folder / "a.pdf").write_bytes(pdf)
    with judging():
        first, *_ = pdfsig_verify([path], root_pem)[path]
        assert first.valid and first.trusted


@pytest.mark.parametrize("level", ["LT", "LTA"])
def test_a_level_in_the_file_holds_from_the_next_requests_on(
    service: RunningService, level: str, tmp_path: Path
) -> None:
    kinds = tuple(CONTENTS)
    configure(service, None)
    until(lambda: sign(service, "CAdES")[0][0] == "B", pause=0.2)
    judge(service, "B", sign(service, *kinds), tmp_path)
    configure(service, level)
    until(lambda: sign(service, "CAdES")[0][0] == level, pause=0.2)
    # A request may ask for more than the file, and never for less.
    judge(service, level, sign(service, *kinds), tmp_path)
    judge(service, level, sign(service, *kinds, asked="B"), tmp_path)
    judge(service, "LTA", sign(service, *kinds, asked="LTA"), tmp_path)
    configure(service, None)
    until(lambda: sign(service, "CAdES")[0][0] == "B", pause=0.2)
