"""How much memory of freed document buffers a worker keeps."""

from collections.abc import Iterator

import pytest

from batchseal._native import scanner
from batchseal.worker.buffers import MOST_BYTES, Buffers, give_back_buffers

WINDOW_BYTES = 1 << 20
# A buffer has a power of two as its size, so such a document leaves no part of it unused.
DOCUMENT_BYTES = 1 << 18


@pytest.fixture(autouse=True)
def _cache_of_its_own() -> Iterator[None]:
    bound_bytes = scanner.set_buffer_cache()
    scanner.set_buffer_cache(0)
    yield
    scanner.set_buffer_cache(0)
    scanner.set_buffer_cache(bound_bytes)


def use_buffers(documents: int) -> int:
    """Holds so many documents at once. Returns how many bytes of their buffers are kept when they are gone."""
    held = []
    for _ in range(documents):
        held.append(scanner.DocumentBuffer())
        held[-1].append(bytes(DOCUMENT_BYTES))
    del held
    return scanner.cached_buffer_bytes()


def test_an_upload_uses_its_buffers_again_and_leaves_one_window_of_them() -> None:
    buffers = Buffers(WINDOW_BYTES)
    with buffers.upload():
        assert use_buffers(8) == 2 * WINDOW_BYTES
        with buffers.upload():
            assert use_buffers(100) == 5 * WINDOW_BYTES
        assert scanner.cached_buffer_bytes() == 3 * WINDOW_BYTES
    assert scanner.cached_buffer_bytes() == WINDOW_BYTES
    assert use_buffers(8) == WINDOW_BYTES


def test_an_upload_that_fails_leaves_no_more_than_others() -> None:
    buffers = Buffers(WINDOW_BYTES)

    def refused() -> None:
        with buffers.upload():
            use_buffers(8)
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        refused()
    assert scanner.cached_buffer_bytes() == WINDOW_BYTES


def test_many_uploads_do_not_raise_the_bound_without_end() -> None:
    buffers = Buffers(16 << 20)
    with buffers.upload(), buffers.upload(), buffers.upload():
        assert scanner.set_buffer_cache() == MOST_BYTES


def test_a_worker_without_work_keeps_nothing() -> None:
    buffers = Buffers(WINDOW_BYTES)
    assert use_buffers(8) == WINDOW_BYTES
    give_back_buffers()
    assert scanner.cached_buffer_bytes() == 0
    with buffers.upload():
        assert use_buffers(8) == 2 * WINDOW_BYTES
