"""The benchmark of hot folders, in a tiny size."""

from benchmarks.hot_folder import measure


def test_the_figures_are_there() -> None:
    found = measure(count=12, size_bytes=9_000)
    assert found["files"] == 12
    assert found["files_per_second"] > 0
    assert found["peak_process_mb"] > 1
