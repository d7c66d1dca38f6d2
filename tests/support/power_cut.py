"""A process that ends in the middle of its work, for tests that cut it off at each call that changes something."""


class PowerCut(BaseException):
    """The process ends here."""


class Power:
    """Lets so many calls happen that may change something, and then none any more. None: as many as come."""

    def __init__(self, calls: int | None) -> None:
        self.left = calls
        self.calls = 0

    def count(self) -> None:
        """To be called before each of them. Raises PowerCut."""
        self.calls += 1
        if self.left is not None and self.calls > self.left:
            raise PowerCut
