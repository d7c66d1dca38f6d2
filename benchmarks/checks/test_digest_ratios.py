"""The benchmark of the digest kernels, run small: its figures mean nothing here, its checks do."""

import pytest
from benchmarks.digest_ratios import FIGURES, measure_digest_ratios
from benchmarks.digest_work import Documents, document_sizes, kernel_pass, openssl_pass

from batchseal._native import cpu, digest

# The instruction sets that a processor must have for each figure: ours, and the one that OpenSSL is held to.
NEEDED = {
    "sha256_avx512_over_openssl_shani": {"avx512-shani", "shani"},
    "sha256_avx512_over_openssl_avx2": {"avx512", "avx2"},
    "sha256_avx2_over_openssl_avx2": {"avx2"},
    "sha256_shani_over_openssl_shani": {"shani"},
}


@pytest.mark.parametrize("without", [(), ("shani", "avx512-shani"), ("avx512", "avx512-shani")], ids=str)
def test_a_figure_is_measured_exactly_where_the_processor_has_what_it_needs(without: tuple[str, ...]) -> None:
    figures = measure_digest_ratios(count=100, mean_bytes=20_000, rounds=1, without=frozenset(without))
    assert list(figures) == list(FIGURES) == list(NEEDED)
    supported = {name for name, has in cpu.instruction_sets() if has}.difference(without)
    assert {name for name, value in figures.items() if value is not None} == {
        name for name, needed in NEEDED.items() if needed <= supported
    }
    assert all(value > 0 for value in figures.values() if value is not None)


def test_the_kernels_are_as_before_afterwards() -> None:
    measure_digest_ratios(count=20, mean_bytes=100_000, rounds=1)
    assert [name for name, _, _, active in digest.kernels() if active] == [cpu.choose_instruction_set()]


def test_skewed_sizes_have_the_mean_that_was_asked_for() -> None:
    sizes = document_sizes(2_500, 200_000, skewed=True)
    assert 180_000 < sum(sizes) / len(sizes) < 220_000
    assert max(sizes) > 8 * 200_000
    assert document_sizes(3, 10, skewed=False) == [10, 10, 10]


def test_contenders_digest_the_same() -> None:
    documents = Documents(30, 5_000, skewed=True)
    assert kernel_pass(documents) == openssl_pass(documents)
    documents.close()
