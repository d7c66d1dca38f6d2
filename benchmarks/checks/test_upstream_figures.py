"""The upstream's figures that count rather than time: each as `make bench-upstream` takes it, once."""

from benchmarks.upstream import calls_of_a_large_request, renewed, tokens


async def test_a_token_that_ends_in_flight_is_renewed_once() -> None:
    assert await tokens(1) == {"token_most_refreshes": 1, "token_failed": 0, "token_trials": 1}


async def test_a_large_request_takes_few_calls() -> None:
    assert await calls_of_a_large_request() == {"calls_for_2500_at_1000": 3}


async def test_a_certificate_renewed_in_mid_batch_leaves_no_document_behind() -> None:
    figures = await renewed()
    assert figures["renewed_documents"] == figures["renewed_valid"] == 100
    assert figures["renewed_with_both"] == 0
    assert 0 < figures["renewed_with_the_new_one"] < 100
