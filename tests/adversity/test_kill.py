"""kill -9 of everything while a batch is being signed: nothing is lost, nothing has two results."""

import random
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from benchmarks.invoices import write_invoices
from benchmarks.service import RunningService, descendants

from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.http import Client
from batchseal.client.verify import check_files, load_roots
from batchseal.services import ClientServices
from batchseal.spill.frames import HEADER_BYTES, FrameKind, unpack_header

DOCUMENTS = 500
SLOW_SANDBOX = ("--sandbox-credential=p256", "--sandbox-latency=300", "--sandbox-multisign=50")
READY_SECONDS, FINISHED_SECONDS = 5, 20


@pytest.fixture(scope="module")
def invoices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("invoices")
    assert len(list(write_invoices(folder, DOCUMENTS, size_bytes=30_000))) == DOCUMENTS
    return folder


def client_of(service: RunningService) -> Client:
    services = ClientServices.load(service.services_file)
    return Client(service.url, services.ids()[0], next(iter(services)).secret)


def signature_frames(folder: Path) -> Counter[int]:
    """How many signatures the spill holds for each document; read here without the service's own index."""
    (path,) = (folder / "temp" / "spill").glob("*.spill")
    data, offset, found = path.read_bytes(), 0, Counter[int]()
    while header := unpack_header(data[offset : offset + HEADER_BYTES], UUID(path.stem), offset):
        if header.kind is FrameKind.SIGNATURE:
            found[header.ordinal] += 1
        offset += HEADER_BYTES + header.stored_bytes
    assert offset == len(data)
    return found


@pytest.mark.timeout(600)
def test_kill_everything(invoices: Path, tmp_path: Path, trials: int) -> None:
    chance = random.Random(11)
    for trial in range(trials):
        folder = tmp_path / str(trial)
        folder.mkdir()
        reference = f"drill {trial}"
        with RunningService(*SLOW_SANDBOX, folder=folder) as service:
            client = client_of(service)
            client.register(BatchBody(find_documents([invoices]), reference, "Drill", None, None))
            client.close()
            time.sleep(chance.uniform(0.0, 2.5))
            service.kill()
        began = time.monotonic()
        with RunningService(*SLOW_SANDBOX, folder=folder) as service:
            assert time.monotonic() - began < READY_SECONDS
            client = client_of(service)
            while not (status := client.status(reference)).finished:
                assert time.monotonic() - began < READY_SECONDS + FINISHED_SECONDS, status
                time.sleep(0.1)
            assert status.status == "EXECUTED"
            out = tmp_path / f"signed {trial}"
            out.mkdir()
            signed = fetch(client, status.operation_id, out)
            client.close()
            frames = signature_frames(folder)
            assert set(frames.values()) == {1}, "a document has two results"
            assert len(frames) == DOCUMENTS
            verdicts = list(check_files(signed, load_roots([service.root]), 2))
            assert len(verdicts) == DOCUMENTS
            assert [v for v in verdicts if not v.valid] == []
            family = [pid for pid, _ in descendants(service.process.pid)]
        assert not [pid for pid in family if Path(f"/proc/{pid}").exists()], "a process outlived the service"


def fetch(client: Client, operation_id: int, out: Path) -> list[Path]:
    paths = []
    for ordinal in range(DOCUMENTS):
        path = out / f"{ordinal}.pdf"
        with path.open("wb") as file:
            client.fetch_document(operation_id, ordinal, file)
        paths.append(path)
    return paths
