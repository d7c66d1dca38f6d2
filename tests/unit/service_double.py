"""A small service that implements the contract over a real socket. It "signs" by appending, and can misbehave on request."""

import base64
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BASE = "/signstash/einvoice-integration-client-ws/api/v0/"
MARK = b"\n% signed"
RECORD = b"\x30\x03\x02\x01\x01"


class ServiceDouble(ThreadingHTTPServer):
    """`refuse` names documents that end unsigned; `replies` are statuses given to the next requests instead of an answer:
    0 breaks the connection after the request was read, -1 breaks it after it was carried out.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuse: set[str] = set()
        self.damaged: set[str] = set()
        self.replies: list[int] = []
        self.polls_before_end = 1
        self.operations: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.body_bytes = 0
        self.cut_short = 0  # so many of the next replies with a content end in its middle
        self.headers: dict[str, str] = {}  # of the reply to a batch
        self.records_in_archive = False
        self.record_replies: dict[int, list[int]] = {}  # by ordinal: statuses of the next replies in place of a record
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ServiceDouble

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        status = self.misbehaviour()
        if status > 0:
            # A service does this if it refuses a request before it reads the body.
            self.answer(status, {"errorCode": "x", "causeMessage": "told to"}, {"Retry-After": "0"})
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.body_bytes = len(body)
        if status == 0:
            self.close_connection = True
            return
        request = json.loads(body)
        reference = request["externalReference"]
        if reference in self.server.operations:
            self.answer(409, {"errorCode": "0.0.7", "causeMessage": f"{reference} is taken"})
            return
        operation = {"id": len(self.server.operations) + 7, "documents": request["documents"], "polls": 0}
        self.server.operations[reference] = operation
        if status == -1:
            self.close_connection = True
            return
        self.answer(200, {"id": operation["id"], "status": "PENDING_EXECUTION"}, self.server.headers)

    def do_GET(self) -> None:
        status = self.misbehaviour()
        if status == 0:
            self.close_connection = True
        elif status > 0:
            self.answer(status, {"errorCode": "x", "causeMessage": "told to"}, {"Retry-After": "0"})
        elif "/status/" in self.path:
            self.status()
        elif self.path.endswith("/contentInResponse/false"):
            self.answer(200, {"documentList": [self.entry(d) for d in self.documents()]})
        elif self.path.endswith("/documents"):
            self.archive()
        elif self.path.endswith("/evidenceRecord"):
            self.record(int(self.path.split("/")[-2]))
        else:
            document = self.documents()[int(self.path.rpartition("/")[2])]
            if name_of(document) in self.server.damaged:
                self.answer(500, {"errorCode": "0.0.1", "causeMessage": "stored content is damaged"})
            else:
                self.raw(signed(document))

    def misbehaviour(self) -> int:
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        return self.server.replies.pop(0) if self.server.replies else -2

    def status(self) -> None:
        operation = self.operation()
        operation["polls"] += 1
        ended = operation["polls"] > self.server.polls_before_end
        status = ("EXECUTION_FAILED" if self.server.refuse else "EXECUTED") if ended else "PENDING_EXECUTION"
        total = len(operation["documents"])
        facts = {"documentsTotal": total, "documentsSigned": total if ended else 0, "documentsFailed": 0}
        self.answer(200, [{"id": operation["id"], "status": status, **facts}])

    def operation(self) -> dict[str, Any]:
        return list(self.server.operations.values())[-1]

    def documents(self) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = self.operation()["documents"]
        return documents

    def entry(self, document: dict[str, Any]) -> dict[str, Any]:
        facts = {"contentLength": len(content(document)), "additionalContentLength": len(MARK)}
        if name_of(document) in self.server.refuse:
            return {
                **facts,
                "signStatus": "ERROR_SIGNING",
                "signError": "CONFIGURATION_SIGN_ERROR",
                "causeMessage": "no",
            }
        return {**facts, "signStatus": "SIGNED", "signError": None}

    def archive(self) -> None:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as entries:
            for document in self.documents():
                if name_of(document) not in self.server.refuse | self.server.damaged:
                    reference = document["documentRequest"]["externalReference"]
                    entries.writestr(f"{reference}.{name_of(document)}", signed(document))
                    if self.server.records_in_archive:
                        entries.writestr(f"{reference}.{name_of(document)}.ers", RECORD)
        self.raw(data.getvalue())

    def record(self, ordinal: int) -> None:
        if replies := self.server.record_replies.get(ordinal):
            self.answer(replies.pop(0), {"errorCode": "x", "causeMessage": "no record"})
        else:
            self.raw(RECORD)

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def raw(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.server.cut_short:
            self.server.cut_short -= 1
            self.close_connection = True
            data = data[: len(data) // 2]
        self.wfile.write(data)


def name_of(document: dict[str, Any]) -> str:
    return str(document["documentRequest"]["name"])


def content(document: dict[str, Any]) -> bytes:
    return base64.b64decode(document["documentRequest"]["base64Content"])


def signed(document: dict[str, Any]) -> bytes:
    return content(document) + MARK
