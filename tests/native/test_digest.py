"""SHA-256 kernels: every instruction set this processor has, against hashlib and against the portable kernel."""

import hashlib
import itertools
import random
import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchseal._native import cpu, digest

SUPPORTED = [name for name, supported in cpu.instruction_sets() if supported]
VARIANTS = [(name, kernel) for name in SUPPORTED for kernel in digest.kernels_of(name)]
NOISE = random.Random(2026).randbytes(4_000_000)


@pytest.fixture(params=VARIANTS, ids=" ".join)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    yield digest.use_kernels(*request.param)
    digest.use_kernels(None)


def expected(jobs: Sequence[Sequence[bytes | memoryview]]) -> list[bytes]:
    return [hashlib.sha256(b"".join(job)).digest() for job in jobs]


def message(length: int, start: int = 0) -> memoryview:
    """A view into the noise at any alignment, so that nothing here happens to be aligned or zero-terminated."""
    return memoryview(NOISE)[start : start + length]


def lognormal_lengths(count: int, median: float, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [int(median * rng.lognormvariate(0, 1.2)) for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ],
)
def test_published_vectors(isa: str, text: bytes, wanted: str) -> None:
    """The examples that NIST publishes with FIPS 180-4."""
    assert digest.sha256(text).hex() == wanted


def test_every_short_length_alone_and_together(isa: str) -> None:
    jobs = [[message(length, length % 67)] for length in range(1_101)]
    wanted = expected(jobs)
    assert digest.sha256_many(jobs) == wanted
    assert [digest.sha256(job[0]) for job in jobs] == wanted


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 16, 17])
def test_long_messages(isa: str, count: int) -> None:
    jobs = [[message(100_000 + 13_337 * i, i)] for i in range(count)]
    assert digest.sha256_many(jobs) == expected(jobs)


def test_a_message_longer_than_all_the_others_together(isa: str) -> None:
    jobs = [[message(300 + i, i)] for i in range(40)]
    jobs.insert(20, [message(len(NOISE))])
    assert digest.sha256_many(jobs) == expected(jobs)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 200])
def test_two_segments_split_at_every_position(isa: str, length: int) -> None:
    whole = message(length, 5)
    jobs = [[whole[:at], whole[at:]] for at in range(length + 1)]
    assert digest.sha256_many(jobs) == expected(jobs)


@pytest.mark.parametrize("length", [3, 64, 130])
def test_three_segments_split_at_every_pair_of_positions(isa: str, length: int) -> None:
    whole = message(length, 9)
    jobs = [
        [whole[:a], whole[a:b], whole[b:]] for a, b in itertools.combinations_with_replacement(range(length + 1), 2)
    ]
    assert digest.sha256_many(jobs) == [hashlib.sha256(whole).digest()] * len(jobs)


def test_many_tiny_segments_and_none(isa: str) -> None:
    whole = bytes(message(500, 1))
    jobs: list[list[bytes]] = [[], [b""], [b"", b"", b""]]
    jobs += [[whole[i : i + 1] for i in range(len(whole))]]
    jobs += [[b"", whole[:100], b"", b"", whole[100:], b""]]
    assert digest.sha256_many(jobs) == expected(jobs)


@pytest.mark.parametrize("count", range(1, 71))
def test_job_counts_with_skewed_lengths(isa: str, count: int) -> None:
    """Up to several refills of every lane, and a drain from every number of busy lanes."""
    jobs = []
    for i, length in enumerate(lognormal_lengths(count, 3_000, count)):
        whole = message(length, i)
        jobs.append([whole[: length * 3 // 5], whole[length * 3 // 5 : length * 4 // 5], whole[length * 4 // 5 :]])
    assert digest.sha256_many(jobs) == expected(jobs)


def test_equal_lengths_end_together(isa: str) -> None:
    jobs = [[message(4_096, i)] for i in range(50)]
    assert digest.sha256_many(jobs) == expected(jobs)


def test_a_batch_of_2500(isa: str) -> None:
    jobs = [[message(length, i)] for i, length in enumerate(lognormal_lengths(2_500, 2_000, 7))]
    assert digest.sha256_many(jobs) == expected(jobs)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 700)), max_size=5), max_size=40),
    st.sampled_from(VARIANTS),
)
def test_any_batch_equals_hashlib_and_the_portable_kernel(
    cuts: list[list[tuple[int, int]]], variant: tuple[str, str]
) -> None:
    jobs = [[message(length, start) for start, length in job] for job in cuts]
    try:
        digest.use_kernels(*variant)
        fast = digest.sha256_many(jobs)
        digest.use_kernels("portable")
        assert fast == digest.sha256_many(jobs) == expected(jobs)
    finally:
        digest.use_kernels(None)


def test_no_jobs(isa: str) -> None:
    assert digest.sha256_many([]) == []
    assert digest.sha256_many_kept([], 3) == []


@pytest.mark.parametrize("segments", [0, 1, 2])
def test_the_state_is_kept_at_every_place(isa: str, segments: int) -> None:
    """Of short messages that a kernel does together, at each byte of a block and beside it."""
    whole = message(400, 3)
    jobs = [[whole[:at], whole[at : at + 17], whole[at + 17 :]] for at in range(0, 383)]
    for job, (found, kept) in zip(jobs, digest.sha256_many_kept(jobs, segments), strict=True):
        assert found == hashlib.sha256(whole).digest()
        before = b"".join(job[:segments])
        state = digest.Sha256State(kept)
        assert state.digest() == hashlib.sha256(before).digest()
        for further in job[segments:]:
            state.update(further)
        assert state.digest() == found
        assert state.kept() != kept or len(before) == len(whole)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 700)), min_size=2, max_size=5), max_size=40),
    st.integers(0, 2),
    st.sampled_from(SUPPORTED),
    st.sampled_from(SUPPORTED),
)
def test_a_kept_state_goes_on_under_any_kernel(
    cuts: list[list[tuple[int, int]]], segments: int, isa: str, other: str
) -> None:
    jobs = [[message(length, start) for start, length in job] for job in cuts]
    try:
        digest.use_kernels(isa)
        results = digest.sha256_many_kept(jobs, segments)
        digest.use_kernels(other)
        assert [found for found, _ in results] == expected(jobs)
        for job, (found, kept) in zip(jobs, results, strict=True):
            begun = digest.Sha256State()
            for part in job[:segments]:
                begun.update(part)
            assert begun.kept() == kept
            begun.update(b"".join(job[segments:]))
            assert begun.digest() == found
    finally:
        digest.use_kernels(None)


def test_a_state_is_not_kept_behind_segments_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="fewer than 2 segments"):
        digest.sha256_many_kept([[b"a", b"b"], [b"a"]], 2)


def test_input_may_be_any_contiguous_buffer() -> None:
    data = bytes(message(1_000))
    segments: list[bytes | bytearray | memoryview] = [data[:300], bytearray(data[300:600]), memoryview(data)[600:]]
    assert digest.sha256_many([segments, tuple(segments)]) == [hashlib.sha256(data).digest()] * 2
    assert digest.sha256(bytearray(data)) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("bad", [[["text"]], [[b"ok"], [1]], [[None]], [b"a message instead of segments"], 3])
def test_what_is_not_a_buffer_is_refused(bad: object) -> None:
    with pytest.raises(TypeError):
        digest.sha256_many(bad)  # type: ignore[arg-type]


def test_a_strided_view_is_refused() -> None:
    with pytest.raises(BufferError):
        digest.sha256_many([[memoryview(b"0123456789")[::2]]])


def test_buffers_are_released_also_after_a_refusal() -> None:
    data = bytearray(b"x" * 100)
    digest.sha256_many([[data]])
    with pytest.raises(TypeError):
        digest.sha256_many([[data], ["text"]])  # type: ignore[list-item]
    data.append(1)  # BufferError while anybody still holds it


def test_threads_digest_side_by_side() -> None:
    jobs = [[message(length, i)] for i, length in enumerate(lognormal_lengths(60, 20_000, 3))]
    wanted, results = expected(jobs), []
    threads = [threading.Thread(target=lambda: results.append(digest.sha256_many(jobs))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [wanted] * 4
