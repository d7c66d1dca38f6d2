"""What is counted of sign calls: those that were sent, once each."""

from uuid import uuid4

from batchseal.errors import UpstreamTransient
from batchseal.system.telemetry.meter import METER
from batchseal.upstream.counting import SignCall


def counted(credential: str) -> dict[str, float]:
    return {name: value for name, value in METER.samples().items() if "digests_total" in name and credential in name}


def test_a_call_that_was_not_sent_counts_for_nothing() -> None:
    credential = str(uuid4())
    SignCall(credential, 500)  # the turn was over before it was sent
    assert counted(credential) == {}
    SignCall(credential, 500).succeeded()
    SignCall(credential, 20).failed(UpstreamTransient("away"))
    assert list(counted(credential).values()) == [520.0]
