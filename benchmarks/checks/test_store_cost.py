"""The benchmark of payload stores, in a tiny size: it ends, and says what its file is to say."""

from benchmarks import store_cost


def test_the_figures_are_there() -> None:
    found = store_cost.measure(count=60, size_bytes=200_000, rounds=1)
    assert found["s3_upload_cpu_over_local"] > 0
    assert found["local_idle_memory_mb"] > 0
    assert {"s3_upload_memory_mb_more", "shared_idle_memory_mb_more", "s3_idle_memory_mb_more"} <= found.keys()
