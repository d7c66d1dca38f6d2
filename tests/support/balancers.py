"""Load balancers in front of instances, with the configurations that the project ships: only addresses and paths differ.

`HAPROXY` and `NGINX` are started like this:

    with HAPROXY(tmp_path, first.port, second.port) as balancer:
        ... balancer.port
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from harness import tools
from harness.service import descendants, free_port
from harness.tools import ROOT
from harness.waiting import until


class Balancer:
    """A running load balancer, as a context."""

    def __init__(self, name: str, port: int, command: list[str], log: Path) -> None:
        self.name = name
        self.port = port
        self.log = log
        self._command = command

    def __enter__(self) -> "Balancer":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._listens)
        return self

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text("utf-8", "replace")
        return any(f":{self.port:04X} 00000000:0000 0A" in line for line in _sockets())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(120)

    def pids(self) -> list[int]:
        return [self.process.pid, *(pid for pid, _ in descendants(self.process.pid))]

    def most_memory_bytes(self) -> int:
        """The most that all its processes have had in memory at any time."""
        return sum(1024 * int(_status(pid, "VmHWM").split()[0]) for pid in self.pids())

    def files(self) -> set[str]:
        """The regular files that it has open, deleted ones included, without its log."""
        found = set()
        for pid in self.pids():
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if entry.is_file():
                        found.add(str(entry.readlink()))
                except OSError:
                    continue  # it was closed meanwhile
        return found - {str(self.log)}


def connections_to(port: int) -> int:
    """TCP connections on this machine that lead to a port, those that ended a moment ago (TIME_WAIT) included."""
    return sum(bool(re.search(rf"^\s*\d+: \S+ [0-9A-F]+:{port:04X} (01|06)", line)) for line in _sockets())


def haproxy(folder: Path, *ports: int) -> Balancer:
    port, configuration = free_port(), folder / "haproxy.cfg"
    configuration.write_text(haproxy_configuration(port, ports))
    return Balancer("haproxy", port, [_program("haproxy"), "-db", "-f", str(configuration)], folder / "haproxy.log")


def haproxy_configuration(port: int, ports: tuple[int, ...]) -> str:
    """The shipped one, for instances on loopback."""
    shipped = (ROOT / "container" / "haproxy.cfg").read_text("utf-8")
    shipped = _replaced(r"^    bind :8080$", f"    bind 127.0.0.1:{port}", shipped)
    servers = "\n".join(f"    server instance-{number} 127.0.0.1:{one}" for number, one in enumerate(ports, 1))
    return _replaced(r"(^    server \S+ batchseal-\d:8080\n)+", f"{servers}\n", shipped)


def nginx(folder: Path, *ports: int) -> Balancer:
    port, configuration = free_port(), folder / "nginx.conf"
    configuration.write_text(nginx_configuration(port, ports))
    own = f'daemon off; pid "{folder}/nginx.pid";'
    command = [_program("nginx"), "-p", str(folder), "-c", str(configuration), "-g", own, "-e", "stderr"]
    return Balancer("nginx", port, command, folder / "nginx.log")


def nginx_configuration(port: int, ports: tuple[int, ...]) -> str:
    """The shipped one, for instances on loopback."""
    shipped = (ROOT / "container" / "nginx.conf").read_text("utf-8")
    shipped = _replaced(r"^        listen 8080;$", f"        listen 127.0.0.1:{port};", shipped)
    servers = "\n".join(f"        server 127.0.0.1:{one} max_fails=1 fail_timeout=10s;" for one in ports)
    return _replaced(r"(^        server batchseal-\d:8080 max_fails=1 fail_timeout=10s;\n)+", f"{servers}\n", shipped)


Start = Callable[..., Balancer]
BALANCERS: dict[str, Start] = {"haproxy": haproxy, "nginx": nginx}


def _replaced(pattern: str, new: str, text: str) -> str:
    changed, count = re.subn(pattern, new, text, flags=re.MULTILINE)
    assert count == 1, f"the shipped configuration does not have {pattern} once"
    return changed


def _program(name: str) -> str:
    found = tools.find(name)
    assert found is not None
    return found


def _status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return "0"


def _sockets() -> list[str]:
    return Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
