"""A proxy before a service that alters its JSON replies, or delays them: another release of it, for `batchseal compare`."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Alter = Callable[[Any], None]


class AlteringProxy:
    """`alter` changes the JSON object of a reply to a signature; `delay_seconds()` come before each such reply.

    `longest_seconds` is how long a reply took until it was there.
    """

    def __init__(
        self, port: int, alter: Alter = lambda reply: None, delay_seconds: Callable[[], float] = lambda: 0.0
    ) -> None:
        proxy = self
        self.longest_seconds = 0.0

        class Handler(BaseHTTPRequestHandler):
            def _pass_on(self) -> None:
                began = time.monotonic()
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection.request(self.command, self.path, body, headers)
                reply = connection.getresponse()
                data = reply.read()
                connection.close()
                if "/sign/base64" in self.path and reply.status == 200:
                    value = json.loads(data)
                    alter(value)
                    data = json.dumps(value).encode()
                    proxy.longest_seconds = max(proxy.longest_seconds, time.monotonic() - began)
                    proxy.wait(delay_seconds())
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _pass_on

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @staticmethod
    def wait(seconds: float) -> None:
        time.sleep(seconds)

    def __enter__(self) -> "AlteringProxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
