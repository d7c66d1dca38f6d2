"""A token (SoftHSM2) under several requests at once, with the signer process killed in the middle."""

import concurrent.futures
import json
from pathlib import Path

import pytest
from harness.invoices import write_invoices
from harness.local_keys import PIN, make_token
from harness.service import RunningService
from harness.stored import signatures_by_operation
from harness.tools import SOFTHSM, missing
from harness.waiting import until
from tests.adversity.drills.purging import crashing

from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.http import Client
from batchseal.commands.verify import check_files, load_roots

REQUESTS, DOCUMENTS = 8, 125  # a request


@pytest.mark.skipif(bool(missing(SOFTHSM)), reason=f"not installed: {missing(SOFTHSM)}")
@pytest.mark.timeout(300)
def test_a_token_and_a_killed_signer(tmp_path: Path) -> None:
    url, root = make_token(tmp_path, "rsa2048")
    invoices = tmp_path / "invoices"
    invoices.mkdir()
    assert len(list(write_invoices(invoices, DOCUMENTS, size_bytes=20_000))) == DOCUMENTS
    folder = tmp_path / "service"
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "pin").write_text(PIN)
    services = folder / "work" / "client-services-config.json"
    services.write_text(json.dumps({"A": {"secret": "s", "pinFile": "pin"}}))
    services.chmod(0o600)
    # The signer ends when the first operation has ended, and the others are under way.
    with crashing("finished", everything=False), RunningService(f"--upstream-url={url}", folder=folder) as service:

        def submit(number: int) -> int:
            client = Client(service.url, "A", "s")
            client.register(BatchBody(find_documents([invoices]), f"token {number}", "Token"))
            until(lambda: client.status(f"token {number}").finished, 240, 0.2)
            status = client.status(f"token {number}")
            client.close()
            assert status.status == "EXECUTED"
            return status.operation_id

        with concurrent.futures.ThreadPoolExecutor(REQUESTS) as threads:
            submitted = [threads.submit(submit, number) for number in range(REQUESTS)]
            until(lambda: b"ended unexpectedly" in service.log.read_bytes())
            operations = [future.result(240) for future in submitted]
        kept = signatures_by_operation(folder / "temp")
        assert sorted(kept) == sorted(operations)
        for ordinals in kept.values():
            assert len(ordinals) == DOCUMENTS
            assert set(ordinals.values()) == {1}, "a document has two signatures"
        client = Client(service.url, "A", "s")
        signed = []
        for ordinal in range(0, DOCUMENTS, 5):
            path = tmp_path / f"{ordinal}.pdf"
            with path.open("wb") as file:
                client.fetch_document(operations[ordinal % REQUESTS], ordinal, file)
            signed.append(path)
        client.close()
        assert all(verdict.valid for verdict in check_files(signed, load_roots([root]), 2))
