"""How much memory of freed document buffers a worker keeps for documents that come later (`_native/scanner`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from batchseal._native.scanner import set_buffer_cache

# An upload holds two windows of documents, whose buffers it uses again and again. Between uploads one window is kept: a request
# for a few documents finds the pages of the one before it, which saves 50 page faults for each document of 200 KB.
WINDOWS_OF_UPLOAD, WINDOWS_KEPT = 2, 1
MOST_BYTES = 32 << 20


class Buffers:
    """Bounds the cache of freed buffers by the uploads under way. The cache is one for the process, so this is as well."""

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._uploads = 0
        self._follow()

    @contextmanager
    def upload(self) -> Iterator[None]:
        """The block receives an upload. At its end most buffers go back to the system, since deliveries take memory then."""
        self._uploads += 1
        self._follow()
        try:
            yield
        finally:
            self._uploads -= 1
            self._follow()

    def _follow(self) -> None:
        windows = WINDOWS_KEPT + self._uploads * WINDOWS_OF_UPLOAD
        set_buffer_cache(min(windows * self._window_bytes, MOST_BYTES))


def give_back_buffers() -> None:
    """Returns all freed buffers to the system. The bound of the cache stays."""
    bound_bytes = set_buffer_cache()
    set_buffer_cache(0)
    set_buffer_cache(bound_bytes)
