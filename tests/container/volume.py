"""What a volume must hold: 20,000 files in flight in little space, and all that was acknowledged, whenever it is killed."""

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from harness.tools import find, missing
from tests.container import engine
from tests.container.judging import count_valid
from tests.container.load import CLIENT, SECRET, CountingClient, send_together, silent
from tests.container.pod import URL, Sandbox, Service

from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.seal import BatchResult, fetch, follow
from batchseal.errors import RequestFailed

USER = "10001:10001"
ALREADY_TAKEN = "0.0.7"


@contextmanager
def small_volume(size_bytes: int) -> Iterator[Path]:
    """A folder with a file system of its own, `size_bytes` with all that the file system itself takes. Needs loop devices."""
    mkfs = find("mkfs.ext4")
    assert mkfs, missing(["mkfs.ext4"])
    folder = Path(tempfile.mkdtemp(prefix="batchseal-volume-", dir="/var/tmp"))
    disk, mount = folder / "disk", folder / "mount"
    mount.mkdir()
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    # For few large files: nothing kept back for root, an inode for each 256 KB, a small journal.
    engine.call(mkfs, "-q", "-m", "0", "-i", "262144", "-J", "size=16", disk)
    engine.call("mount", "-o", "loop", disk, mount)
    try:
        shutil.rmtree(mount / "lost+found")
        engine.call("chown", USER, mount)
        yield mount
    finally:
        engine.call("umount", mount, check=False)
        shutil.rmtree(folder)


def may_mount() -> bool:
    if find("mkfs.ext4") is None:
        return False
    try:
        with small_volume(64 << 20):
            return True
    except SystemExit:
        return False


class SpaceWatch:
    """The most that was used on a volume."""

    def __init__(self, mount: Path) -> None:
        self.mount, self.peak_bytes = mount, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.2):
            self.peak_bytes = max(self.peak_bytes, shutil.disk_usage(self.mount).used)

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self.peak_bytes


def twenty_thousand(sandbox: Sandbox, folder: Path, size_bytes: int, memory_mb: int, judged: int) -> dict[str, float]:
    """8 requests of all of `folder`'s files, none fetched before all were taken. Disk and database in MB of 10^6 bytes."""
    out = Path(tempfile.mkdtemp(prefix="batchseal-out-", dir="/var/tmp"))
    try:
        with small_volume(size_bytes) as mount, Service(sandbox, f"{memory_mb}m", str(mount)) as service:
            space = SpaceWatch(mount)
            sent, seconds = send_together(URL, folder, out, 8, all_in_flight=True)
            numbers: dict[str, float] = dict(service.watch.stop())
            numbers |= {
                "volume_mb": size_bytes // 1_000_000,
                "volume_peak_mb": space.stop() // 1_000_000,
                "database_mb": used_bytes(mount / "batchseal" / "postgres") // 1_000_000,
                "spill_mb": used_bytes(mount / "batchseal" / "spill") // 1_000_000,
                "payload_mb": 8 * sum(document.size for document in find_documents([folder])) // 1_000_000,
                "limit_mb": memory_mb,
                "seconds": round(seconds, 1),
                "documents": 8 * len(find_documents([folder])),
                "signed": sum(s.signed for s in sent),
                "refusals": sum(s.refusals for s in sent),
                "alive": int(engine.running(service.name)),
            }
        for failure in sorted({s.failure for s in sent if s.failure}):
            print(f"    {failure}")
        numbers["valid"], numbers["seen_by_pdfsig"] = count_valid(folder, out, sandbox.root, judged)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return numbers


def used_bytes(folder: Path) -> int:
    return int(engine.call("du", "-s", "--block-size=1", folder).split()[0])


# --- kills -----------------------------------------------------------------------------------------------------------


class Sender(threading.Thread):
    """Sends the documents of a folder again and again, each time as a new operation, until the service is gone."""

    def __init__(self, folder: Path, unfinished: BatchBody | None) -> None:
        super().__init__(daemon=True)
        self.folder, self.unfinished = folder, unfinished
        self.taken: list[BatchBody] = []
        self.problem = ""

    def run(self) -> None:
        client = CountingClient(URL, CLIENT, SECRET)
        while True:
            # What was being sent when the service was killed comes again under the reference it had.
            body = self.unfinished or BatchBody(find_documents([self.folder]), f"kill {uuid4()}", "container test")
            self.unfinished = body
            try:
                client.register(body)
            except RequestFailed as problem:
                if problem.code != ALREADY_TAKEN:
                    if problem.status:
                        self.problem = problem.cause
                    return
            self.taken.append(body)
            self.unfinished = None


def survive_kills(sandbox: Sandbox, folder: Path, volume: str, trials: int, seed: int) -> dict[str, float]:
    """Kills the container `trials` times while it takes and signs; a new one on the same volume must finish what was taken."""
    chance = random.Random(seed)
    taken: list[BatchBody] = []
    unfinished: BatchBody | None = None
    ready, lost, checked = 0.0, 0, 0
    out = Path(tempfile.mkdtemp(prefix="batchseal-out-", dir="/var/tmp"))
    try:
        for _ in range(trials):
            with Service(sandbox, "256m", volume) as service:
                ready = max(ready, service.ready_seconds)
                sender = Sender(folder, unfinished)
                sender.start()
                time.sleep(chance.uniform(0.1, 2.5))
                engine.call("podman", "kill", "-s", "KILL", service.name)
                sender.join(60)
                if sender.problem:
                    print(f"    refused: {sender.problem}")
            taken, unfinished = taken + sender.taken, sender.unfinished
        with Service(sandbox, "256m", volume):
            for number, body in enumerate(taken):
                lost += not fetched(body, out / str(number))
                checked += 1
        documents = sum(len(body.documents) for body in taken)
        valid, _ = count_valid(folder, out, sandbox.root, 10)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return {
        "kills": trials,
        "kills_operations": len(taken),
        "kills_documents": documents,
        "kills_valid": valid,
        "kills_lost": lost,
        "kills_slowest_ready_seconds": round(ready, 2),
    }


def fetched(body: BatchBody, out: Path) -> bool:
    """Whether all documents of an operation came back signed."""
    out.mkdir()
    client = CountingClient(URL, CLIENT, SECRET)
    with suppress(RequestFailed):
        status = follow(client, body, silent)
        result = BatchResult(status.operation_id, status.status)
        fetch(client, body.documents, out, result, silent)
        return status.status == "EXECUTED" and len(result.signed) == len(body.documents)
    return False
