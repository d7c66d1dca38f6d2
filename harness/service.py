"""A service of its own for a run: started on a free port in a fresh folder, ended in any case."""

import http.client
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from harness.children import start_child
from harness.held_folder import HeldFolder

READY_SECONDS = 180
STOP_SECONDS = 120
SAMPLE_SECONDS = 0.2
LOWEST_PORT = 10_000
PORT_TRIES = 100


class RunningService:
    """`batchseal serve` with its defaults, as a context.

    A folder of its own is removed at the end; one that is given stays, for another service to go on there. `module` is what is
    run in place of the command line, with `environment` added to that of this process. `port` is a free one, unless it is given.
    """

    def __init__(
        self,
        *flags: str,
        folder: Path | None = None,
        module: str = "batchseal.cli",
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._flags = flags
        self._environment = {**os.environ, **environment} if environment else None
        self._module = module
        self._held: HeldFolder | None = None
        if folder is None:
            self._held = HeldFolder("run")
            folder = self._held.path
        self.folder = folder
        self.folder.chmod(0o711)  # passed by the account of the embedded Postgres
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.services_file = self.folder / "work" / "client-services-config.json"
        self.root = self.folder / "temp" / "sandbox" / "root.pem"
        self.log = self.folder / "serve.log"
        self._memory: MemorySampler | None = None

    def __enter__(self) -> "RunningService":
        command = [
            *(sys.executable, "-m", self._module, "serve"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--work-folder", str(self.folder / "work"), "--temp-folder", str(self.folder / "temp")),
            "--operator-port=off",  # unless the flags say otherwise
            *self._flags,
        ]
        self.process = start_child(command, self.log, ends_with=signal.SIGTERM, environment=self._environment)
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._memory is not None:
            self._memory.stop()
        self._stop()

    def watch_memory(self) -> "MemorySampler":
        """Samples the memory from now until the service ends. That takes a seventh of a core, so few runs can afford it."""
        self._memory = MemorySampler(self.process.pid)
        return self._memory

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", "/health/ready")
                status = connection.getresponse().status
                connection.close()
                if status == 200:
                    return
            time.sleep(0.05)
        said = self.log.read_text("utf-8", "replace")[-4000:]
        raise SystemExit(f"The service did not start. It said:\n{said}")

    def kill(self) -> None:
        """SIGKILL to every process at once, as a power cut would, but for what the kernel has in its cache.

        Returns when all of them have ended, and with them their sockets and locks.
        """
        with ExitStack() as handles:
            family = []
            for pid in [self.process.pid, *(pid for pid, _ in descendants(self.process.pid))]:
                with suppress(ProcessLookupError):
                    family.append(os.pidfd_open(pid))
                    handles.callback(os.close, family[-1])
            for handle in family:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS
            for handle in family:
                # The handle of a process can be read once the process has ended.
                if not select.select([handle], [], [], max(deadline - time.monotonic(), 0))[0]:
                    raise TimeoutError(f"a process of the service lives {STOP_SECONDS} seconds after SIGKILL")
        self.process.wait()

    def _stop(self) -> None:
        """SIGTERM ends the service; what is left after that is killed one by one."""
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        # An impatient second Ctrl-C must not leave anything behind.
        handlers = [signal.signal(number, signal.SIG_IGN) for number in numbers]
        family = [pid for pid, _ in descendants(self.process.pid)]
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in [self.process.pid, *family]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        if self._held is not None:
            self._held.remove()
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


class MemorySampler:
    """The highest PSS of a process tree, in bytes: of the service, and of the parts that stand in for others."""

    def __init__(self, pid: int) -> None:
        self.peak = {"service": 0, "postgres": 0, "sandbox": 0}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self, pid: int) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            for part, size in measure(pid).items():
                self.peak[part] = max(self.peak[part], size)


def measure(pid: int, field: str = "Pss") -> dict[str, int]:
    """PSS of the tree under `pid` in bytes, by part.

    With the field `Pss_Anon` it is without files that are mapped: the share of a library grows when another process that uses it
    ends, and no memory was taken.
    """
    sizes = {"service": 0, "postgres": 0, "sandbox": 0}
    for member, command in [(pid, ""), *descendants(pid)]:
        program = command.partition("\0")[0]
        part = "postgres" if "postgres" in program else "sandbox" if "batchseal.sandbox" in command else "service"
        sizes[part] += pss_bytes(member, field)
    return sizes


def pss_bytes(pid: int, field: str = "Pss") -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    return 0


def descendants(pid: int) -> list[tuple[int, str]]:
    """Every process under `pid`: its id and its command line, arguments separated by NUL."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            # The name in parentheses may hold anything; the parent is the second field after it.
            parent = int((entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: list[tuple[int, str]] = []
    waiting = children.get(pid, [])
    while waiting:
        member = waiting.pop()
        waiting.extend(children.get(member, []))
        with suppress(OSError):
            found.append((member, Path(f"/proc/{member}/cmdline").read_text("utf-8", "replace")))
    return found


def free_port() -> int:
    """A port that nobody has, and that the kernel gives to nobody before the service listens there.

    The kernel takes the ports of outgoing connections, and of listeners that name none, from its own range.
    """
    first_of_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    for _ in range(PORT_TRIES):
        port = random.SystemRandom().randrange(LOWEST_PORT, max(first_of_kernel, LOWEST_PORT + 1000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit(f"No port is free between {LOWEST_PORT} and {first_of_kernel}.")
