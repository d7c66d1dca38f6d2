"""Starts the sandbox as a process of its own, which a test can stop for a while."""

import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchseal.settings.client_services import make_sandbox_services


@dataclass(frozen=True)
class Sandbox:
    address: str
    services: Path
    root: Path
    process: "subprocess.Popen[str]"

    @property
    def root_der(self) -> bytes:
        """The root certificate of its authority, which its time stamps lead to as well."""
        return ssl.PEM_cert_to_DER_cert(self.root.read_text("ascii"))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the process (SIGSTOP) inside the `with` block: the kernel accepts connections, but nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_sandbox(folder: Path, *options: str) -> Iterator[Sandbox]:
    services = make_sandbox_services(folder, folder)
    command = [sys.executable, "-m", "batchseal.sandbox", f"--folder={folder}", f"--services={services}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Sandbox(process.stdout.readline().strip(), services, folder / "root.pem", process)
        finally:
            process.terminate()
