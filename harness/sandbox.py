"""Starts the sandbox as a process of its own, which a test can stop for a while and whose certificates it can revoke."""

import json
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batchseal.sandbox.authority import stored_port
from batchseal.settings.client_services import make_sandbox_services
from harness.service import free_port


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

    @property
    def folder(self) -> Path:
        """Where its keys and certificates are."""
        return self.root.parent

    def revoke(self, *lines: str) -> None:
        """Revokes the certificates that these lines of `revoked.txt` name, and no others (see `batchseal.sandbox.register`)."""
        (self.folder / "revoked.txt").write_text("".join(f"{line}\n" for line in lines))

    def status_requests(self) -> dict[str, dict[str, int]]:
        """How often the status of certificates was asked for: "ocsp" by serial number in hex, "crl" and "issuers" by issuer.

        "signatures": how many were given, by credential.
        """
        with urllib.request.urlopen(f"{self.address}/sandbox/requests", timeout=120) as reply:
            counts: dict[str, dict[str, int]] = json.load(reply)
            return counts

    def signatures(self) -> int:
        """How many signatures it has made, whoever got them."""
        return sum(self.status_requests()["signatures"].values())

    def sign_calls(self) -> int:
        """How many sign calls were made, whoever made them."""
        return sum(self._calls()["made"].values())

    def callers_at_once(self) -> int:
        """How many processes had sign calls of one client service under way at the same time, at most."""
        return max(self._calls()["callers_at_once"].values(), default=0)

    def _calls(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"{self.address}/sandbox/calls", timeout=120) as reply:
            counts: dict[str, dict[str, int]] = json.load(reply)
            return counts

    def stamps(self) -> int:
        """How many time stamps it has given."""
        return sum(self.status_requests()["stamps"].values())

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the process (SIGSTOP) inside the `with` block: the kernel accepts connections, but nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_sandbox(folder: Path, *options: str, log: BinaryIO | None = None) -> Iterator[Sandbox]:
    """`log` gets what the process writes to standard error; None: that of this process.

    The first sandbox in a folder gets a port that the kernel gives to nobody, so that a later one there can have it again.
    """
    services = make_sandbox_services(folder, folder)
    command = [sys.executable, "-m", "batchseal.sandbox", f"--folder={folder}", f"--services={services}", *options]
    if not stored_port(folder) and not any(option.startswith("--port") for option in options):
        command.append(f"--port={free_port()}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        try:
            yield Sandbox(process.stdout.readline().strip(), services, folder / "root.pem", process)
        finally:
            process.terminate()
