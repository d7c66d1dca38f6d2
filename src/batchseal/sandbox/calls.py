"""Counts the sign calls of each client service, and whose are under way at once. For tests."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class SignCalls:
    """Each process that calls has a token of its own, so different tokens stand for different callers."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        """How many calls were made, by client service."""
        self.callers_at_once: Counter[str] = Counter()
        """How many tokens had calls under way at the same time, at most, by client service."""
        self._under_way: dict[str, Counter[str]] = {}

    @contextmanager
    def one(self, client_service: str, token: str) -> Iterator[None]:
        """A call is under way while the block lasts."""
        tokens = self._under_way.setdefault(client_service, Counter())
        tokens[token] += 1
        self.made[client_service] += 1
        self.callers_at_once[client_service] = max(self.callers_at_once[client_service], len(tokens))
        try:
            yield
        finally:
            tokens[token] -= 1
            if not tokens[token]:
                del tokens[token]
