"""What is counted of sign calls, for the metrics."""

import time

from batchseal.errors import OutcomeUnknown, UpstreamError, UpstreamTransient
from batchseal.system.telemetry.meter import METER


class SignCall:
    """Counts one sign call of a credential, and how long it takes.

    A call that was not sent in the end has no outcome and counts for nothing: its digests come again in another one.
    """

    def __init__(self, credential_id: str, digests: int) -> None:
        self._credential_id, self._digests, self._began = credential_id, digests, time.monotonic()

    def succeeded(self) -> None:
        self._ended("signed")

    def failed(self, problem: UpstreamError) -> None:
        """What answered with an error is told from what did not answer, or not in time."""
        self._ended("no answer" if isinstance(problem, UpstreamTransient | OutcomeUnknown) else "refused")

    def _ended(self, outcome: str) -> None:
        took = time.monotonic() - self._began
        METER.add("batchseal_upstream_digests_total", self._credential_id, amount=self._digests)
        METER.observe("batchseal_upstream_call_seconds", self._credential_id, outcome, value=took)
