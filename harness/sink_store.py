"""An object store that forgets: it takes uploads and throws them away, so that a benchmark measures who sends alone.

    python -m harness.sink_store PORT

Only objects of at most 64 KB are kept, such as the marker of a payload store. Signatures are not looked at.
"""

import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KEPT_BYTES = 64 << 10
PIECE_BYTES = 1 << 20


KEPT: dict[str, bytes] = {}
SIZES: dict[str, int] = {}


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def do_PUT(self) -> None:
        content, size = self._body()
        path = urlsplit(self.path).path
        SIZES[path] = SIZES.get(path, 0) * ("partNumber" in self.path) + size
        if size <= KEPT_BYTES:
            KEPT[path] = content
        self._reply(200, etag=f'"{hashlib.sha256(self.path.encode()).hexdigest()[:32]}"')

    def do_POST(self) -> None:
        self._body()
        if self.path.endswith(("?uploads", "?uploads=")):
            said = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        else:
            said = '<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>'
        self._reply(200, said.encode())

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if "list-type" in self.path:
            return self._reply(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        if path in KEPT:
            return self._reply(200, KEPT[path], etag='"1"')
        return self._reply(404)

    def do_HEAD(self) -> None:
        path = urlsplit(self.path).path
        if path in SIZES:
            return self._reply(200, etag='"1"', length=SIZES[path])
        return self._reply(404)

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        KEPT.pop(path, None)
        SIZES.pop(path, None)
        self._reply(204)

    def _body(self) -> tuple[bytes, int]:
        """The body if it is small, and its length."""
        length = left = int(self.headers.get("content-length") or 0)
        if length <= KEPT_BYTES:
            return self.rfile.read(length), length
        while left:
            left -= len(self.rfile.read(min(left, PIECE_BYTES)))
        return b"", length

    def _reply(self, status: int, content: bytes = b"", etag: str = "", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content) if length is None else length))
        self.send_header("last-modified", self.date_time_string())
        if etag:
            self.send_header("etag", etag)
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
