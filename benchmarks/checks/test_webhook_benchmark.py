"""The benchmark of webhooks, in a tiny size."""

from benchmarks.webhook_cost import measure


def test_the_figures_are_there() -> None:
    found = measure(count=3)
    assert found["webhook_end_ms"] > found["webhook_trigger_ms"] > 0
    assert found["webhook_end_over_plain"] > 0
