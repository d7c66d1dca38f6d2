"""The pages of the documentation as tests read them, and a shell that runs what a page says can be run.

A block of code whose language is `run` is run by bash. One whose language is `service` is started in the background, in the
folder in which the blocks before it have ended; the next block runs once it is ready. A block `output` behind a `run` has lines
that this must have printed, each as a part of a line. All blocks of a page are run by one shell, which ends at the first command
that fails.
"""

import http.client
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml
from harness.children import start_child
from harness.service import free_port
from harness.tools import ROOT
from harness.waiting import until

PAGES = ROOT / "docs" / "pages"
CONFIGURATION = ROOT / "docs" / "properdocs.yml"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNABLE = ("run", "service", "output")
PORT = "8080"  # the one that the pages name
START_SECONDS, STOP_SECONDS = 180, 120


@dataclass(frozen=True, slots=True)
class Block:
    kind: str
    text: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are run or compared, in their order."""
    found = BLOCK.findall((PAGES / page).read_text("utf-8"))
    return [Block(kind, text) for kind, text in found if kind in RUNNABLE]


def pages() -> list[str]:
    """The pages in the order of the navigation."""

    def walk(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        return [page for child in children for page in walk(child)]

    return walk(yaml.safe_load(CONFIGURATION.read_text("utf-8"))["nav"])


class Background:
    """What a block `service` has started."""

    def __init__(self, command: str, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.port = port
        self._log = folder / "serve.log"
        self._process = start_child(
            ["bash", "-c", f"exec {command}"],
            self._log,
            ends_with=signal.SIGTERM,
            environment=environment,
            folder=folder,
        )
        try:
            until(self._is_ready, START_SECONDS, 0.1)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text("utf-8")
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("GET", "/health/ready")
            status = connection.getresponse().status
            connection.close()
            return status == 200
        return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(STOP_SECONDS)


class Shell:
    """A bash in which the blocks of a page run. `port` takes the place of 8080 until the page starts a service of its own."""

    def __init__(self, folder: Path, port: int, script_folder: Path) -> None:
        self.folder, self.port = folder, port
        self.started: list[Background] = []
        self._scripts = script_folder
        self._number = 0
        self._bash = subprocess.Popen(
            ["bash", "-euo", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=self._environment(),
        )

    def __enter__(self) -> "Shell":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._bash.stdin is not None and self._bash.stdout is not None
        self._bash.stdin.close()
        self._bash.wait(STOP_SECONDS)
        self._bash.stdout.close()

    def run_all(self, several: list[Block]) -> None:
        said = ""
        for block in several:
            if block.kind == "service":
                self._start(block.text)
            elif block.kind == "run":
                said = self.run(block.text)
            else:
                for line in block.text.splitlines():
                    assert line in said, f"{line!r} is not in what was printed:\n{said}"

    def run(self, commands: str) -> str:
        """What the commands print. Fails with it if one of them fails."""
        self._number += 1
        script = self._scripts / f"{os.getpid()}-{id(self)}-{self._number}.sh"
        script.write_text(commands.replace(PORT, str(self.port)))
        assert self._bash.stdin is not None and self._bash.stdout is not None
        end = f"end of block {self._number} in "
        self._bash.stdin.write(f"source {script} </dev/null; printf '\\n%s%s\\n' '{end}' \"$PWD\"\n")
        self._bash.stdin.flush()
        said: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(end):
                self.folder = Path(line.removeprefix(end).rstrip("\n"))
                return "".join(said)
            said.append(line)
        raise AssertionError(f"a command failed in this block:\n{commands}\nThe block printed:\n{''.join(said)}")

    def stop_services(self) -> None:
        for service in self.started:
            service.stop()

    def _start(self, command: str) -> None:
        self.port = free_port()
        self.run(f"export BATCHSEAL_PORT={self.port}")
        self.started.append(Background(command, self.folder, self.port, self._environment()))

    def _environment(self) -> dict[str, str]:
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "BATCHSEAL_PORT": str(self.port)}
        return {**os.environ, **own, "BATCHSEAL_OPERATOR_PORT": "off", "COLUMNS": "120"}
