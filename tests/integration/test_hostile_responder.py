"""The real service at level LT, and a responder that sends 100 MB: documents fail by name, and nothing of it stays."""

import asyncio
import json
import mmap
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from harness.service import RunningService, descendants
from harness.stored import signatures_by_operation
from tests.support.long_term_job import body, contents
from tests.support.responder import MARK, Responder, responding
from tests.support.service import client_of, finished, post

PIN = "a pin"
# What is fetched before it is too much is 16 MB; more of it is on the way, in the kernel's buffers.
LIST_BYTES, MOST_FETCHED_BYTES = 100 << 20, 32 << 20
# The same, and what a first batch loads.
MOST_MEMORY_BYTES = 48 << 20


def service_of(pki: Responder, folder: Path) -> RunningService:
    """Seals at level LT with a key of `pki`, which answers about its certificates. `folder` is for keys."""
    (folder / "pin").write_text(PIN)
    (folder / "root.pem").write_bytes(pki.root.public_bytes(Encoding.PEM))
    sealed = pkcs12.serialize_key_and_certificates(
        b"seal", pki.seal_key, pki.seal, [pki.middle], BestAvailableEncryption(PIN.encode())
    )
    (folder / "seal.p12").write_bytes(sealed)
    service = RunningService(
        f"--upstream-url=pkcs12:{folder / 'seal.p12'}",
        f"--timestamp-urls={pki.address}/tsa",
        f"--timestamp-roots={folder / 'root.pem'}",
        f"--signer-roots={folder / 'root.pem'}",
        "--revocation-private-hosts=127.0.0.1",
        "--signature-level=LT",
        "--upstream-patience=1",
    )
    service.services_file.parent.mkdir()
    service.services_file.write_text(
        json.dumps({"A": {"secret": "a secret of the test", "pinFile": str(folder / "pin")}})
    )
    return service


class SignerMemory:
    """The most that the signer of a running service has held since this was made, beyond what it held then, in bytes."""

    def __init__(self, service: RunningService) -> None:
        (pid,) = [pid for pid, command in descendants(service.process.pid) if "\0signer\0" in command]
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # sets VmHWM to what it is now (proc(5))
        self._before = self._peak()

    def _peak(self) -> int:
        (line,) = [line for line in self._status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])

    def grown_bytes(self) -> int:
        return self._peak() - self._before


def files_with(text: bytes, folder: Path) -> list[Path]:
    """The files below `folder` that hold `text`."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content.find(text) >= 0:
                    found.append(path)
    return found


async def test_a_list_of_100_mb_costs_its_documents_alone(tmp_path: Path) -> None:
    documents = contents(6)
    async with responding() as pki:
        pki.away, pki.list_bytes = {"ocsp"}, LIST_BYTES

        def run() -> None:
            with service_of(pki, tmp_path) as service:
                memory = SignerMemory(service)
                assert post(service, body("large", documents))[0] == 200
                status = finished(service, "large")
                assert status.status == "EXECUTION_FAILED"
                client = client_of(service)
                results = client.results(status.operation_id)
                client.close()
                assert {result.sign_error for result in results} == {"CERT_SERVICE_GLOBAL_ERROR"}
                assert all("Middle.crl: the answer is larger than" in result.cause for result in results)
                grown = memory.grown_bytes()
                assert grown < MOST_MEMORY_BYTES, f"{grown >> 20} MB more"
                assert files_with(MARK * 2, service.folder) == []
                assert signatures_by_operation(service.folder / "temp") == {}

        await asyncio.to_thread(run)
        assert pki.sent_bytes < MOST_FETCHED_BYTES
        assert (pki.asked["ocsp"], pki.asked["Middle.crl"]) == (1, 1)
