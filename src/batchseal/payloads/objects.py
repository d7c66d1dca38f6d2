"""One prefix of a bucket, through obstore: puts, reads, lists and deletes objects, and says what went wrong in our own terms.

obstore has threads of its own. So its store is made when it is first used, which is long after the process started.
"""

import http
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from batchseal.errors import NoSpace, PayloadDamaged, PayloadsOfAnother, PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.marker import LOOK_SECONDS, MARKER, require_marker
from batchseal.payloads.object_keys import Keys
from batchseal.payloads.watch import DEFAULT_PACE, Watch, WatchPace
from batchseal.settings.payload_stores import ObjectAddress

if TYPE_CHECKING:
    from obstore.store import S3Store

# Parts of an upload are of equal size, which some stores ask for, and 10,000 of them hold the largest body many times.
PART_BYTES = 8 << 20
PARTS_IN_FLIGHT = 2
# Keys from a file are asked for again after this long, so that a rotation is noticed.
KEYS_SECONDS = 60.0
# What stores answer that have no room left; there is no standard for it.
FULL = ("QuotaExceeded", "StorageFull", "InsufficientCapacity", "507 Insufficient")
MOST_CAUSE_CHARACTERS = 300
LISTED_AT_ONCE = 1000
STATUS = re.compile(r"status code: (\d{3})")
STATUSES = frozenset(map(int, http.HTTPStatus))
BEHIND_THE_END = 416
REFUSED = ("PermissionDeniedError", "UnauthenticatedError")
NO_BUCKET = "the payload store has no such bucket, or has given the upload up"
# What the client says of a key that it cannot use. Then the store is there.
BAD_KEY = ("Error parsing Path", "contained empty path segment", "Could not parse path")
UNUSABLE_KEY = "the name of an object has a control character, or an empty part between two slashes"
REFUSED_KEYS = "it refuses the keys, or what they ask for"
NON_PARTIAL = "Received non-partial response"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPace:
    """How long requests may take, in seconds, and how often one is sent again. `watch`: what follows from those that fail.

    A request that moves a part has `request_seconds` for all of it: 8 MB in 60 s.
    """

    connect_seconds: float = 5.0
    request_seconds: float = 60.0
    retries: int = 3
    retry_seconds: float = 20.0
    first_pause_seconds: float = 0.1
    watch: WatchPace = DEFAULT_PACE


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its key below the prefix, its length, when it was stored, by the store's own clock, and its ETag.

    The ETag is without quotes, and empty where the store gives none. It is the MD5 of the content in many stores, but not in all.
    """

    key: str
    size: int
    stored_at: datetime
    etag: str = ""


class Objects:
    """All calls block, and raise PayloadUnavailable; what reads an object raises PayloadDamaged where there is none."""

    def __init__(
        self,
        address: ObjectAddress,
        keys: Callable[[], Keys] | None,
        requests: BucketRequests,
        pace: ObjectPace | None = None,
        *,
        what: str = "the payload store",
    ) -> None:
        """`what` stands for the store in the log."""
        self.address = address
        self._keys = keys
        self._requests = requests
        self.database: UUID | None = None  # whose payloads these must be; None where nobody has said it
        self._next_look = 0.0  # when who writes looks at the marker again; monotonic
        self._calls_ranges_whole = False  # whether the store answers 200 to a request for a range
        self._pace = pace or ObjectPace()
        self._lock = threading.Lock()
        self.watch = Watch(self._probe, self._pace.watch, what)

    @cached_property
    def _client(self) -> Any:
        import obstore

        return obstore

    @cached_property
    def _store(self) -> "S3Store":
        with self._lock:
            return self._make_store()

    def _make_store(self) -> "S3Store":
        from obstore.store import S3Store

        address, pace = self.address, self._pace
        options: dict[str, Any] = {
            "allow_http": address.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=pace.connect_seconds),
            "timeout": timedelta(seconds=pace.request_seconds),
        }
        if address.ca:
            options["root_certificate"] = Path(address.ca).read_bytes()
        if address.proxy:
            options |= {"proxy_url": address.proxy, "proxy_excludes": address.no_proxy}
        config: dict[str, Any] = {
            "region": address.region,
            "virtual_hosted_style_request": not address.path_style,
            "disable_bulk_delete": True,  # not every store has it
        }
        if address.endpoint:
            config["endpoint"] = address.endpoint if address.path_style else address.url
        if address.sse:
            config["server_side_encryption"] = address.sse
        if address.sse_key:
            config["sse_kms_key_id"] = address.sse_key
        return S3Store(
            address.bucket,
            prefix=address.prefix or None,
            config=config,  # type: ignore[arg-type]
            client_options=options,  # type: ignore[arg-type]
            retry_config={
                "max_retries": pace.retries,
                "retry_timeout": timedelta(seconds=pace.retry_seconds),
                "backoff": {
                    "init_backoff": timedelta(seconds=pace.first_pause_seconds),
                    "max_backoff": timedelta(seconds=max(2.0, pace.first_pause_seconds)),
                    "base": 2,
                },
            },
            credential_provider=self._credentials if self._keys is not None else None,
        )

    def _credentials(self) -> Any:
        assert self._keys is not None
        keys = self._keys()
        return {
            "access_key_id": keys.key_id,
            "secret_access_key": keys.secret,
            "token": keys.token or None,
            "expires_at": datetime.now(UTC) + timedelta(seconds=KEYS_SECONDS),
        }

    # --- calls --------------------------------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> str:
        """One request. Returns the ETag. Raises NoSpace where the store says that it is full."""
        with self._asking("an object cannot be stored", missing=NO_BUCKET):
            return etag_of(self._client.put(self._store, key, content, use_multipart=False))

    def put_parts(self, key: str, pieces: Iterator[bytes]) -> str:
        """A multipart upload. Returns the ETag. If the iterator raises, the upload is aborted, and what it raised is raised here.

        obstore must not be cancelled: it would leave the upload open.
        """
        with self._asking("an object cannot be stored", missing=NO_BUCKET):
            answer = self._client.put(
                self._store,
                key,
                pieces,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_IN_FLIGHT,
            )
            return etag_of(answer)

    def size(self, key: str) -> int | None:
        """None where there is no such object."""
        found = self.look_at(key)
        return None if found is None else found.size

    def look_at(self, key: str) -> Stored | None:
        """What the store says of an object; None where there is no such object."""
        try:
            with self._asking("an object cannot be looked at"):
                return stored(self._client.head(self._store, key))
        except PayloadDamaged:
            return None

    def get(self, key: str) -> tuple[bytes, datetime]:
        """A small object, and when it was stored. Raises PayloadDamaged where there is none."""
        with self._asking("an object cannot be read"):
            found = self._client.get(self._store, key)
            return bytes(found.bytes()), found.meta["last_modified"]

    def stream(self, key: str, block_bytes: int) -> "tuple[Stored, Iterator[bytes]]":
        """An object as one answer gives it, so that all of it is of one version. Raises PayloadDamaged where there is none."""
        with self._asking("an object cannot be read"):
            found = self._client.get(self._store, key)
            return stored(found.meta), self._blocks(found.stream(min_chunk_size=block_bytes))

    def _blocks(self, answer: Iterable[Any]) -> Iterator[bytes]:
        with self._asking("an object cannot be read"):
            for block in answer:
                yield bytes(block)

    def read(self, key: str, start: int, stop: int) -> bytes:
        """The bytes between two offsets, or fewer where the object ends. Raises PayloadDamaged where there is no object."""
        with self._asking("an object cannot be read"):
            if not self._calls_ranges_whole:
                try:
                    return bytes(self._client.get_range(self._store, key, start=start, end=stop))
                except self._client.exceptions.BaseError as problem:
                    if status_of(problem) == BEHIND_THE_END:
                        return b""
                    if NON_PARTIAL not in str(problem):
                        raise
                    self._calls_ranges_whole = self._requests.can_ask
                    if not self._calls_ranges_whole:
                        raise
            return self._requests.read_range(self._full_key(key), start, stop)

    def read_ranges(self, key: str, ranges: list[tuple[int, int]]) -> list[bytes]:
        """One request for each range, several at a time."""
        if self._calls_ranges_whole:
            return [self.read(key, start, stop) for start, stop in ranges]
        starts, ends = [start for start, _ in ranges], [stop for _, stop in ranges]
        with self._asking("an object cannot be read"):
            # By default obstore would read whatever lies between two ranges.
            found = self._client.get_ranges(self._store, key, starts=starts, ends=ends, coalesce=0)
            return [bytes(one) for one in found]

    def _full_key(self, key: str) -> str:
        return f"{self.address.prefix}/{key}" if self.address.prefix else key

    def list(self, folder: str) -> Iterator[list[Stored]]:
        """The objects whose key begins with `folder` and a slash, some at a time. Without a folder, all of them."""
        with self._asking("the objects cannot be listed"):
            for some in self._client.list(self._store, f"{folder}/" if folder else None, chunk_size=LISTED_AT_ONCE):
                yield [stored(one) for one in some]

    def delete(self, keys: Iterable[str]) -> None:
        """An object that is gone is no error."""
        if paths := list(keys):
            with self._asking("objects cannot be deleted"):
                self._client.delete(self._store, paths)

    def need_marker(self) -> None:
        """Raises PayloadUnavailable where the prefix has no marker, or another one: the bucket is gone, or it is another's."""
        with self._asking("the store does not answer"):
            require_marker(self._marker(), self.database)
        self._next_look = time.monotonic() + LOOK_SECONDS

    def need_marker_lately(self) -> None:
        """The same for who writes, without a look for each payload: what comes before the marker would be nobody's."""
        if time.monotonic() >= self._next_look:
            self.need_marker()

    def _probe(self) -> None:
        with self._asking("the store does not answer", tries=True):
            if (found := self._marker()) is not None:
                require_marker(found, self.database)

    def _marker(self) -> bytes | None:
        try:
            return bytes(self._client.get(self._store, MARKER).bytes())
        except FileNotFoundError:
            return None  # it answers

    @contextmanager
    def _asking(self, what: str, *, tries: bool = False, missing: str = "") -> Iterator[None]:
        """Raises what the client raises in our own terms, and tells the watch. `missing`: what 404 means of a write."""
        if not tries:
            self.watch.let_through()
        try:
            yield
        except PayloadsOfAnother as problem:
            self.watch.belongs_to_another(problem.cause)
            raise
        except FileNotFoundError:
            self.watch.answered()
            if missing:
                raise PayloadUnavailable(f"{what} just now: {missing}") from None
            raise PayloadDamaged("the stored payload cannot be opened: there is no such object") from None
        except (self._client.exceptions.BaseError, OSError, ValueError) as problem:
            if any(text in str(problem) for text in BAD_KEY):
                self.watch.answered()
                raise PayloadUnavailable(f"{what}: {UNUSABLE_KEY}") from None
            cause = said(problem)
            if any(code in str(problem) for code in FULL):
                self.watch.answered()
                raise NoSpace(f"{what}: the payload store is full", retry_after_seconds=30) from None
            self.watch.failed(cause, first_line(problem))
            raise PayloadUnavailable(f"{what} just now: {cause}") from None
        else:
            self.watch.answered()


def stored(meta: Any) -> Stored:
    """What the client says of an object."""
    return Stored(meta["path"], int(meta["size"]), meta["last_modified"], etag_of(meta))


def etag_of(answer: Any) -> str:
    return (answer["e_tag"] or "").removeprefix("W/").strip('"')


def status_of(problem: Exception) -> int:
    """The HTTP status that the store answered; 0 where it did not answer."""
    found = STATUS.search(first_line(problem))
    return int(found[1]) if found else 0


def said(problem: Exception) -> str:
    """A failure in words that callers may read: they name neither the address of the store nor an object."""
    if status := status_of(problem):
        return f"it answers {status} {http.HTTPStatus(status).phrase if status in STATUSES else ''}".rstrip()
    if type(problem).__name__ in REFUSED:
        return REFUSED_KEYS
    text = str(problem)
    return "it does not answer in time" if "timed out" in text or "TimedOut" in text else "it cannot be reached"


def first_line(problem: Exception) -> str:
    """What follows repeats it with inner details."""
    return (str(problem).splitlines() or [type(problem).__name__])[0][:MOST_CAUSE_CHARACTERS]
