"""Starts the worker of `support_api` as a process of its own, and sends requests to it, over raw sockets if needed."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
from harness.waiting import PATIENCE_SECONDS, until

from batchseal.processes.supervisor import reserve_port

BASE = "/signstash/einvoice-integration-client-ws/api/v0"
CLIENTS = {"one": {"secret": "s1"}, "two": {"secret": "s2"}, "off": {"secret": "s3", "active": False}}
SOURCES = Path(__file__).parents[2] / "src"


class Service:
    """A running worker. `settings` replace those of `Settings`; `clients` of None means no client-services-config.json."""

    def __init__(
        self, folder: Path, *, clients: Any = CLIENTS, grace: float = 2, send_stall: float = 120, **settings: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if clients is not None:
            (folder / "client-services-config.json").write_text(json.dumps(clients))
            (folder / "client-services-config.json").chmod(0o600)
        self.holder = reserve_port("127.0.0.1", 0)
        self.port = self.holder.getsockname()[1]
        values = {"host": "127.0.0.1", "port": self.port, "work_folder": str(folder), "temp_folder": str(folder)}
        ready, write = os.pipe()
        self.log = folder / "worker.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("api_worker.py")),
                    "--grace",
                    str(grace),
                    "--send-stall",
                    str(send_stall),
                    "--ready-fd",
                    str(write),
                    json.dumps(values | settings),
                ],
                env={**os.environ, "PYTHONPATH": str(SOURCES)},
                pass_fds=[write],
                stdout=log,
                stderr=log,
            )
        os.close(write)
        with os.fdopen(ready, "rb") as pipe:
            assert pipe.readline().split()[:1] == [b"ready"], self.log.read_text()
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()
        self.session.auth = ("one", "s1")

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + BASE + path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.session.post(self.url + BASE + path, **options)

    def registered(self, reference: str, *names: str) -> int:
        reply = self.post("/async/document/sign/base64/", json=sign_request(reference, *names))
        assert reply.status_code == 200, reply.text
        return int(reply.json()["id"])

    def count(self, name: str) -> int:
        return int(self.get(f"/operation/id/withDocumentExternalReference/{name}").json())

    def until(self, name: str, value: int) -> None:
        """Waits until the count `name` of the service is `value`."""
        until(lambda: self.count(name) == value, pause=0.01)

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(data)
        return connection

    def raw(self, data: bytes, *, seconds: float = PATIENCE_SECONDS, shut: bool = False) -> bytes:
        """Sends `data` and returns the reply, up to the end of the connection. If it stays open, `...` is appended."""
        with self.connect(data) as connection:
            if shut:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(seconds)
            got = bytearray()
            try:
                while piece := connection.recv(1 << 20):
                    got += piece
            except TimeoutError:
                got += b"..."
            return bytes(got)

    def peak_mb(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def stop(self) -> int:
        self.session.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(120)
        finally:
            self.process.kill()
            self.holder.close()


def document(name: str, reference: str = "Ext_Ref_constant", content: bytes = b"%PDF-1.4 small") -> dict[str, Any]:
    return {
        "documentRequest": {
            "base64Content": base64.b64encode(content).decode(),
            "contentType": "application/pdf",
            "externalReference": reference,
            "name": name,
        },
        "signatureInfo": {"signatureType": "PAdES"},
    }


def sign_request(reference: str, *names: str) -> dict[str, Any]:
    return {"externalReference": reference, "description": "d", "documents": [document(name) for name in names]}


def basic(client: str = "one", secret: str = "s1") -> bytes:  # noqa: S107
    return b"Authorization: Basic " + base64.b64encode(f"{client}:{secret}".encode()) + b"\r\n"


def head(verb: str, path: str, *lines: bytes, host: bytes = b"Host: h\r\n") -> bytes:
    """The head of a request. Each of `lines` must end with CR LF."""
    return f"{verb} {path} HTTP/1.1\r\n".encode() + host + b"".join(lines) + b"\r\n"
