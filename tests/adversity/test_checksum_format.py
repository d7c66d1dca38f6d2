"""A format that exists only in the tests goes through the whole service: over HTTP, by its processes, to the audit trail."""

import asyncio
import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator

import pytest
from harness.invoices import invoice
from harness.service import RunningService
from harness.stored import connect_as_owner
from tests.adversity.drills.judge import result_of
from tests.support import checksum_job
from tests.support.service import ASYNC_PARTS, BASE, FAST, SYNC, finished, get, post, until
from tests.support.service import entry as pdf_entry

from batchseal.audit.chain import Event, documents_digest

TEXTS = checksum_job.texts(30)


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with checksum_job.start(*FAST) as service:
        yield service


def judge_all(signed: list[bytes], texts: list[bytes]) -> None:
    for number, (document, text) in enumerate(zip(signed, texts, strict=True)):
        checksum_job.judge_signed(document, text, stamped=checksum_job.is_stamped(number))


async def audited(service: RunningService, operation_id: int) -> dict[int, tuple[bytes, int, int]]:
    """By event: digest, documents signed and failed."""
    connection = await connect_as_owner(service.folder / "temp")
    try:
        query = "SELECT event, digest, signed, failed FROM audit WHERE operation_id = $1"
        found = await connection.fetch(query, operation_id)
        return {record["event"]: (record["digest"], record["signed"], record["failed"]) for record in found}
    finally:
        await connection.close()


def test_texts_are_accepted_signed_and_delivered(service: RunningService) -> None:
    code, _, said = post(service, checksum_job.body("json", TEXTS))
    assert code == 200, said
    operation_id = finished(service, "json").operation_id
    answer = result_of(service, operation_id)
    assert answer["status"] == "EXECUTED"
    entries = answer["documentList"]
    signed = [base64.b64decode(entry["signedContent"]) for entry in entries]  # type: ignore[attr-defined]
    judge_all(signed, TEXTS)
    # What the format adds is what it says, not the rest of a file that begins with the original.
    for entry, text, document in zip(entries, TEXTS, signed, strict=True):  # type: ignore[call-overload]
        assert entry["contentLength"] == len(text)
        assert entry["additionalContentLength"] > 0
        assert entry["contentLength"] + entry["additionalContentLength"] != len(document)
        assert len(document) <= entry["additionalContentLength"], "the bound that memory is reserved by"
    detail = f"{BASE}/operation/sign/detail/{operation_id}/documents"
    code, _, archive = get(service, detail)
    assert code == 200
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert [opened.read(name) for name in opened.namelist()] == signed
    code, headers, alone = get(service, f"{detail}/3")
    assert (code, alone) == (200, signed[3])
    assert headers["content-type"].startswith("text/xml")


def test_texts_described_after_they_came_and_a_synchronous_request(service: RunningService) -> None:
    made, media_type = checksum_job.parts("parts", TEXTS)
    assert post(service, made, ASYNC_PARTS, media_type)[0] == 200
    answer = result_of(service, finished(service, "parts").operation_id)
    judge_all([base64.b64decode(entry["signedContent"]) for entry in answer["documentList"]], TEXTS)  # type: ignore[attr-defined]
    code, _, said = post(service, checksum_job.body("synchronous", TEXTS[:4]), SYNC)
    assert code == 200, said
    answer = json.loads(said)
    judge_all([base64.b64decode(entry["signedContent"]) for entry in answer["documentList"]], TEXTS[:4])


def test_formats_stand_side_by_side_in_one_request(service: RunningService) -> None:
    """And what a format refuses costs its neighbours nothing."""
    pdf = invoice(1, size_bytes=20_000)
    described = checksum_job.request("mixed", [TEXTS[0], TEXTS[1], b"zero \0 byte", TEXTS[3]])
    wrong = checksum_job.entry(5, TEXTS[4])
    wrong["signatureInfo"]["signatureType"] = "PAdES"
    described["documents"] += [pdf_entry(4, pdf), wrong]
    assert post(service, json.dumps(described).encode())[0] == 200
    operation_id = finished(service, "mixed").operation_id
    answer = result_of(service, operation_id)
    entries = answer["documentList"]
    assert [entry["signStatus"] for entry in entries] == [  # type: ignore[attr-defined]
        *("SIGNED", "SIGNED", "ERROR_SIGNING", "SIGNED", "SIGNED", "ERROR_SIGNING")
    ]
    assert [entries[2]["signError"], entries[5]["signError"]] == [  # type: ignore[index]
        "SIGN_OPERATION_INTERNAL_ERROR",
        "CONFIGURATION_SIGN_ERROR",
    ]
    for number in (0, 1, 3):
        signed = base64.b64decode(entries[number]["signedContent"])  # type: ignore[index]
        checksum_job.judge_signed(signed, TEXTS[number], stamped=checksum_job.is_stamped(number))
    assert base64.b64decode(entries[4]["signedContent"]).startswith(pdf)  # type: ignore[index]


def test_the_audit_trail_tells_of_them_and_holds(service: RunningService) -> None:
    assert post(service, checksum_job.body("audited", TEXTS[:5]))[0] == 200
    operation_id = finished(service, "audited").operation_id
    result_of(service, operation_id)
    until(lambda: Event.FETCHED in asyncio.run(audited(service, operation_id)))
    entries = asyncio.run(audited(service, operation_id))
    digest = documents_digest(hashlib.sha256(text).digest() for text in TEXTS[:5])
    assert entries[Event.REGISTERED][0] == digest
    assert entries[Event.FINISHED] == (digest, 5, 0)
    folders = ["--temp-folder", str(service.folder / "temp"), "--work-folder", str(service.folder / "work")]
    command = [sys.executable, "-m", "batchseal.cli", "audit", "verify", *folders]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
