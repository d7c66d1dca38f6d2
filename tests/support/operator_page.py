"""A service with the operator's page, and accounts for it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.operator_visitor import PASSWORD, Visitor
from harness.service import RunningService, free_port
from harness.waiting import until
from tests.support.service import FAST


@dataclass(frozen=True)
class OperatorService:
    """A service with the operator's page."""

    service: RunningService
    port: int

    def visitor(self, **headers: str) -> Visitor:
        return Visitor(self.port, {name.replace("_", "-"): value for name, value in headers.items()})

    def signed_in(self, name: str) -> Visitor:
        visitor = self.visitor()
        answer = visitor.sign_in(name)
        assert answer.status == 303, answer.text
        return visitor

    def command(self, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        """`batchseal operator ...` beside the running service."""
        temp = self.service.folder / "temp"
        command = [sys.executable, "-m", "batchseal.cli", "operator", *arguments, "--temp-folder", str(temp)]
        return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, timeout=240, check=False)

    @property
    def trial_password(self) -> Path:
        return self.service.folder / "temp" / "sandbox" / "operator-password"


@contextmanager
def operator_service(*flags: str, own_url: bool = False) -> Iterator[OperatorService]:
    """A service with the page. With `own_url` it is told the address of the page, as OpenID Connect needs it."""
    port = free_port()
    if own_url:
        flags = (*flags, f"--operator-url=http://127.0.0.1:{port}")
    with RunningService(*FAST, "--workers=1", f"--operator-port={port}", *flags) as service:
        visitor = Visitor(port)
        until(lambda: answers(visitor))
        yield OperatorService(service, port)


def answers(visitor: Visitor) -> bool:
    try:
        return visitor.get("/login").status in (200, 403)
    except OSError:
        return False


def add_accounts(page: OperatorService, *roles: str) -> None:
    """An account for each role, of its name, without a one-time code."""
    for role in roles:
        done = page.command("add", role, "--role", role, "--no-code")
        assert done.returncode == 0, done.stderr
