"""The files that the pages load: scripts and style sheets. Their addresses carry a digest, so that browsers keep them."""

import hashlib
from dataclasses import dataclass
from importlib import resources

from batchseal.api.exchange import Exchange, Send

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
PREFIX = "/static/"
DIGEST_CHARACTERS = 12
KEPT = b"public, max-age=31536000, immutable"
# Of an address with another digest: that of the other release while instances are replaced one after the other.
NOT_KEPT = b"no-cache"


@dataclass(frozen=True, slots=True)
class StaticFile:
    name: str
    media_type: str


class StaticFiles:
    """The files of the folder `static`. Nobody else's name leads to a file."""

    def __init__(self) -> None:
        self._folder = resources.files("batchseal.operator").joinpath("static")
        self._addresses: dict[str, str] = {}
        self._files = {
            file.name: StaticFile(file.name, TYPES[suffix])
            for file in self._folder.iterdir()
            if (suffix := file.name[file.name.rfind(".") :]) in TYPES
        }

    def find(self, path: str) -> StaticFile | None:
        """The file of an address, whatever digest it carries."""
        if not path.startswith(PREFIX):
            return None
        _, slash, name = path.removeprefix(PREFIX).partition("/")
        return self._files.get(name) if slash else None

    def address(self, name: str) -> str:
        """The address of a file, with the digest of its content."""
        if name not in self._addresses:
            digest = hashlib.sha256(self._content(name)).hexdigest()[:DIGEST_CHARACTERS]
            self._addresses[name] = f"{PREFIX}{digest}/{name}"
        return self._addresses[name]

    def _content(self, name: str) -> bytes:
        return self._folder.joinpath(name).read_bytes()

    async def send(self, file: StaticFile, exchange: Exchange, send: Send) -> None:
        """Sends a file. It does not go through the exchange, which would tell caches not to keep it."""
        body = self._content(file.name)
        is_of_this_release = exchange.scope["path"] == self.address(file.name)
        headers = [
            (b"content-type", file.media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", KEPT if is_of_this_release else NOT_KEPT),
            (b"x-content-type-options", b"nosniff"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        is_head = exchange.scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if is_head else body, "more_body": False})
