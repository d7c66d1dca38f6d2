"""What surrounds the service fails: its database, its disk, its callers' sockets."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.service import RunningService, descendants
from harness.tools import SMALL_VOLUME
from tests.adversity.drills import volumes
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import (
    FAST,
    authorization,
    batch,
    connect,
    documents,
    finished,
    get,
    head,
    post,
    reply,
    spill_files,
    until,
)

CONNECTS_A_SECOND = 20
AWAY_SECONDS = 60
IDLE_SOCKETS = 2000
HEALTH_SECONDS = 0.1
HEALTH_REQUESTS = 600


# --- database ----------------------------------------------------------------------------------------------------


def postmaster(service: RunningService) -> int:
    """The embedded server's first process."""
    return int((service.folder / "temp" / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def is_another(service: RunningService, pid: int) -> bool:
    """Whether the embedded server's first process is another one than that."""
    with suppress(OSError, ValueError, IndexError):  # its file goes with the old one, and is written by the new one
        return postmaster(service) != pid
    return False


@drill("postgres-trouble", quick=2, short=15, long=150)
def postgres_trouble(folder: Path) -> Iterator[Trial]:
    """In turn: the server is killed, told to restart, and away for a minute (stopped: it neither answers nor refuses)."""
    contents = documents(100)
    flags = (*FAST, "--sandbox-latency=200", "--sandbox-multisign=10")
    (folder / "service").mkdir()
    with RunningService(*flags, folder=folder / "service") as service:

        def trial(number: int) -> Figures:
            reference = f"trouble {number}"
            assert post(service, batch(reference, contents))[0] == 200
            time.sleep(0.3 + number % 5 * 0.2)
            pid = postmaster(service)
            kind = number % 3
            connects = 0.0
            if kind == 2:
                connects = away(service, folder, AWAY_SECONDS)
            began = time.monotonic()
            if kind != 2:
                # SIGINT: fast shutdown. The supervisor starts the server again, which until then may seem to be there.
                os.kill(pid, signal.SIGINT if kind else signal.SIGKILL)
                until(lambda: is_another(service, pid), within(20))

            def answered() -> bool:
                with suppress(OSError):
                    return bool(get(service, "/health/ready", within(10))[0] == 200)
                return False

            until(answered, within(20))
            back = time.monotonic() - began
            status = finished(service, reference, within(60))
            assert status.status == "EXECUTED", f"after {('kill', 'restart', 'outage')[kind]}: {status}"
            judge_result(service, status.operation_id, contents, verified=2)
            assert connects <= CONNECTS_A_SECOND, f"{connects:.1f} connects a second"
            return {"seconds_until_ready_max": back, "connects_per_second_max": connects}

        yield trial


def away(service: RunningService, folder: Path, seconds: float) -> float:
    """Connection attempts a second to a database that is away: its socket is taken by one that counts and refuses."""
    pid = postmaster(service)
    path = next((service.folder / "temp" / "postgres").glob(".s.PGSQL.*[0-9]"))
    os.kill(pid, signal.SIGSTOP)
    moved = path.with_name("moved")
    path.rename(moved)
    count, stop = [0], threading.Event()
    with socket.socket(socket.AF_UNIX) as counter:
        counter.bind(str(path))
        path.chmod(0o777)
        counter.listen(64)
        counter.settimeout(0.2)

        def refuse() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    counter.accept()[0].close()
                    count[0] += 1

        thread = threading.Thread(target=refuse)
        thread.start()
        # What the pool has open must break, or nobody would connect: kill the backends, not the server.
        for child, _ in descendants(pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            with suppress(OSError):
                assert get(service, "/health/live", 10)[0] == 200
                code = post(service, batch("meanwhile", documents(1)))[0]
                assert code in (503, 409, 200), code
            time.sleep(0.2)
        stop.set()
        thread.join()
    path.unlink()
    moved.rename(path)
    os.kill(pid, signal.SIGCONT)
    return count[0] / seconds


# --- disk --------------------------------------------------------------------------------------------------------


@drill("disk-full", quick=3, short=60, long=300, needs=SMALL_VOLUME)
def disk_full(folder: Path) -> Iterator[Trial]:
    """A small file system of its own, filled before the upload, while it is spilled, and before the rows are written."""
    volumes.make_image(folder / "image", 400 << 20)
    with volumes.mounted(folder / "image", folder / "mount") as mount, RunningService(*FAST, folder=mount) as service:
        body = batch("disk", documents(60, size_bytes=300_000))
        ballast = mount / "ballast"

        def trial(number: int) -> Figures:
            kind = number % 3
            if kind == 0:
                fill(ballast, mount)  # Before there is a connection: its headers would have to come within seconds.
            with connect(service, within(30)) as connection:
                began = time.monotonic()
                connection.sendall(head(service, len(body), Connection="close"))
                if kind:
                    half = len(body) // 2 if kind == 1 else len(body) - 1000
                    connection.sendall(body[:half])
                    time.sleep(0.3)
                    fill(ballast, mount)
                    began = time.monotonic()
                    with suppress(BrokenPipeError, ConnectionResetError):
                        connection.sendall(body[half:])
                connection.recv(1, socket.MSG_PEEK)
                seconds = time.monotonic() - began
                code, headers, said = reply(connection)
            try:
                # At the very end there may be just enough room left to do it all.
                assert code == 507 or (kind == 2 and code in (200, 503)), (kind, code, said[:200])
                assert kind == 2 or seconds < within(1), f"507 after {seconds:.1f} s"
                if code == 507:
                    assert int(headers["retry-after"]) > 0
                    until(lambda: not stray(service), within(2))
            finally:
                ballast.unlink()
            began = time.monotonic()
            until(lambda: post(service, batch(f"after {number}", documents(2)))[0] == 200, within(10), 0.2)
            again = time.monotonic() - began
            if code == 200:
                finished(service, "disk", within(20))
            return {"seconds_until_507_max": seconds if code == 507 else 0, "seconds_until_works_again_max": again}

        yield trial


def fill(ballast: Path, mount: Path) -> None:
    """Takes all that is left."""
    with ballast.open("wb") as file, suppress(OSError):
        left = os.statvfs(mount)
        os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize)
        while True:
            file.seek(0, 2)
            file.write(bytes(65536))
            file.flush()


def stray(service: RunningService) -> list[Path]:
    """Payloads larger than those of `after` and of nothing that was registered."""
    return [path for path in spill_files(service.folder) if path.stat().st_size > 2_000_000]


# --- sockets -----------------------------------------------------------------------------------------------------


@drill("slow-sockets", quick=0, short=1, long=10)
def slow_sockets(folder: Path) -> Iterator[Trial]:
    """2,000 sockets that are silent, stop in their headers, stop in their body, or do not read their reply."""
    with RunningService(*FAST, folder=folder) as service:
        assert post(service, batch("big", documents(60, size_bytes=200_000)))[0] == 200
        operation = finished(service, "big").operation_id
        path = (
            f"/signstash/einvoice-integration-client-ws/api/v0/operation/sign/detail/{operation}/contentInResponse/true"
        )
        fetch = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(service)}\r\n\r\n".encode()
        kinds = (b"", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ", head(service, 50_000_000) + b'{"externalRef', fetch)

        def trial(number: int) -> Figures:
            sockets = []
            try:
                for index in range(IDLE_SOCKETS):
                    one = socket.socket()
                    if kinds[index % 4] is fetch:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    one.connect(("127.0.0.1", service.port))
                    sockets.append(one)
                    if kinds[index % 4]:
                        with suppress(OSError):
                            one.sendall(kinds[index % 4])
                figures = {}
                times: dict[str, list[float]] = {"live": [], "ready": []}
                # Long enough for the first of them to be cut, and for the rest to hold on.
                for _ in range(HEALTH_REQUESTS):
                    for kind, taken in times.items():
                        began = time.monotonic()
                        assert get(service, f"/health/{kind}", 10)[0] == 200
                        taken.append(time.monotonic() - began)
                        time.sleep(0.01)
                for kind, taken in times.items():
                    p99 = sorted(taken)[int(len(taken) * 0.99)]
                    assert p99 < HEALTH_SECONDS, f"/health/{kind}: p99 {p99 * 1000:.0f} ms"
                    figures[f"{kind}_p99_ms_max"] = p99 * 1000
                return figures
            finally:
                for one in sockets:
                    one.close()

        yield trial
