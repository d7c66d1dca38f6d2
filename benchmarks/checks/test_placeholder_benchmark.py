"""The search for placeholders is measured beside pdfminer.six, which finds the same places; how fast is for `make bench`."""

from benchmarks import placeholder_ratio


def test_smoke() -> None:
    result = placeholder_ratio.measure(40, 1)
    assert result["placeholder_over_pdfminer"] > 0
    assert set(result["documents_per_cpu_second"]) == {"ours", "pdfminer"}
