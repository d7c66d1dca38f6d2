"""The invoices of the comparison with lxml, which both read alike. That it runs is tested in `test_benchmarks_smoke.py`."""

from benchmarks.canonical_ratio import SIZES, digests, digests_by_lxml, invoice


def test_invoices_have_the_size_that_they_should() -> None:
    for size in SIZES.values():
        assert abs(len(invoice(1, size)) - size) < 1_000
    invoices = [invoice(number, 5_000) for number in range(40)]
    assert len(set(digests(invoices))) == 40
    assert digests(invoices) == digests_by_lxml(invoices)
