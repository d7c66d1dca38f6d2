"""The comparison with lxml runs, on invoices that both read alike; how fast is for `make bench` to say."""

from benchmarks.canonical_ratio import SIZES, digests, digests_by_lxml, invoice, measure


def test_smoke() -> None:
    figures = measure(documents=4, rounds=1)
    assert {"c14n_over_memcpy", *(f"c14n_{name}_over_lxml" for name in SIZES)} < figures.keys()


def test_invoices_have_the_size_that_they_should() -> None:
    for size in SIZES.values():
        assert abs(len(invoice(1, size)) - size) < 1_000
    invoices = [invoice(number, 5_000) for number in range(40)]
    assert len(set(digests(invoices))) == 40
    assert digests(invoices) == digests_by_lxml(invoices)
