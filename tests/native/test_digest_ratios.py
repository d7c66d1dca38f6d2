"""The benchmark of the digest kernels, run small: its figures mean nothing here, its checks do."""

from benchmarks.digest_ratios import FIGURES, measure_digest_ratios
from benchmarks.digest_work import Documents, document_sizes, kernel_pass, openssl_pass

from batchseal._native import cpu, digest


def test_ratios_have_every_figure_or_say_that_it_was_not_measured() -> None:
    figures = measure_digest_ratios(count=100, mean_bytes=20_000, rounds=1)
    assert list(figures) == list(FIGURES)
    supported = {name for name, has in cpu.instruction_sets() if has}
    for name, (ours, _) in FIGURES.items():
        value = figures[name]
        assert (value is not None and value > 0) or ours not in supported or "shani" not in supported


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
