"""The service as its users run it, with a sandbox in a container of its own: one network, so still loopback."""

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from harness.waiting import until
from tests.container import engine
from tests.container.load import CLIENT, SECRET
from tests.container.memory import MemoryWatch

PORT = 8081
URL = f"http://127.0.0.1:{PORT}"
SANDBOX_PORT = 9000
PROBE_SECONDS = 10


class Sandbox:
    """The stand-in for the signing service: lives through all loads, holds the network and the published port."""

    name = "batchseal-test-sandbox"

    def __init__(self, latency_ms: int = 0) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="batchseal-work-", dir="/var/tmp"))
        self.state = Path(tempfile.mkdtemp(prefix="batchseal-state-", dir="/var/tmp"))
        self.work.chmod(0o755)  # root-owned, as hosts make it
        services = self.work / "client-services-config.json"
        services.write_text(json.dumps({CLIENT: {"secret": SECRET}}), "utf-8")
        services.chmod(0o644)
        self.state.chmod(0o777)
        engine.run(
            self.name,
            *("-p", f"{PORT}:8080", "--mount", f"type=bind,source={self.work},target=/home,readonly"),
            *("--mount", f"type=bind,source={self.state},target=/tmp", "--entrypoint", "batchseal"),
            arguments=("sandbox", "--folder", "/tmp/sandbox", "--services", "/home/client-services-config.json",
                       "--port", str(SANDBOX_PORT), "--latency", str(latency_ms)),
        )  # fmt: skip
        root = self.state / "sandbox" / "root.pem"
        with suppress(AssertionError):
            until(lambda: root.exists() or not engine.running(self.name), 30, 0.1)
        if not root.exists():
            raise SystemExit(f"the sandbox did not start:\n{engine.logs(self.name)}")

    @property
    def root(self) -> bytes:
        return (self.state / "sandbox" / "root.pem").read_bytes()

    @property
    def long_term(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Podman's options and the service's flags for the level LT: its time stamps, and whom to ask about its certificates."""
        roots = "/etc/batchseal-roots.pem"
        options = ("--mount", f"type=bind,source={self.state / 'sandbox' / 'root.pem'},target={roots},readonly")
        flags = (
            f"--timestamp-urls=http://127.0.0.1:{SANDBOX_PORT}/tsa",
            f"--timestamp-roots={roots}",
            f"--signer-roots={roots}",
            "--revocation-private-hosts=127.0.0.1",
        )
        return options, flags

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine.remove(self.name)
        for folder in (self.work, self.state):
            shutil.rmtree(folder, ignore_errors=True)


class Service:
    """A container with the original's command line under a memory limit, watched and probed until the block ends."""

    name = "batchseal-test-service"

    def __init__(
        self,
        sandbox: Sandbox,
        memory: str,
        volume: str,
        *,
        home: str = "",
        image: str = engine.IMAGE,
        options: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        """`volume` is a podman volume's name, or a folder; `home` what is mounted there if not the sandbox's work folder.
        `options` are podman's, and `flags` the service's own, beside those that each service here has.
        """
        kind = "bind" if volume.startswith("/") else "volume"
        started = time.monotonic()
        engine.run(
            self.name,
            *("--network", f"container:{sandbox.name}", f"--memory={memory}", "--read-only", "--cap-drop=ALL"),
            *("--mount", f"type={kind},source={volume},target=/tmp"),
            *("--mount", f"type=bind,source={home or f'{sandbox.work},target=/home'}", *options),
            arguments=("--server.host.port=127.0.0.1:8081",
                       f"--einvoice-integration-client.service.domain=http://127.0.0.1:{SANDBOX_PORT}/", *flags),
            image=image,
        )  # fmt: skip
        self.watch = MemoryWatch(self.name)
        engine.await_ready(URL, self.name)
        self.ready_seconds = time.monotonic() - started
        self._ended = threading.Event()
        self._prober = threading.Thread(target=self._probe, daemon=True)
        self._prober.start()

    def _probe(self) -> None:
        """The image's own health check, as an engine would run it: its memory counts too."""
        while not self._ended.wait(PROBE_SECONDS):
            subprocess.run(
                ["podman", "exec", self.name, "batchseal", "probe"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )

    def stop(self) -> float:
        """Seconds until the container had ended by itself after SIGTERM. Raises SystemExit where it did not end well."""
        started = time.monotonic()
        engine.call("podman", "stop", "-t", "30", self.name)
        code = engine.call("podman", "inspect", "-f", "{{.State.ExitCode}}", self.name)
        if code != "0":
            raise SystemExit(f"{self.name} ended with {code} after SIGTERM:\n{engine.logs(self.name)[-3000:]}")
        return time.monotonic() - started

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._prober.join()
        engine.remove(self.name)
