"""The sandbox's bearer tokens are valid exactly as long as its answer said."""

from batchseal.sandbox import grants


def test_a_token_lasts_as_long_as_it_was_issued_for():
    clock = 1000.9
    tokens = grants.Tokens(1, now=lambda: clock)
    token, _ = tokens.issue("A")
    clock = 1001.8
    assert tokens.client_service(token) == "A"
    clock = 1002.0
    assert tokens.client_service(token) is None
