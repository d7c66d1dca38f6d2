"""How many calls of the signing service several instances make, against one instance with the same load."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.invoices import invoice
from harness.service import RunningService
from harness.several import Several, several
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.instances import numbered
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.service import SYNC, batch, documents, finished, post

INSTANCES = 3
CALL_DIGESTS = 50
# A call that signs takes so long. Requests share a call that come while another one is under way: on a slow machine it takes a
# second until all single requests have come.
CALL_SECONDS = 1.5
SINGLES, MOST_CALLS_OF_SINGLES = 50, 6
# Batches whose digests do not fill calls exactly.
BATCHES, FEW_BATCHES, BATCH_DOCUMENTS = 40, 12, 130
CALLERS = 6
MOST_OVER_ONE = 1.05
FINISHED_SECONDS = 120


def know_each_other(rig: Several, count: int) -> None:
    """Waits until each instance has heard of the others."""
    until(lambda: all(f'"instances": {count - 1}' in one.log.read_text("utf-8") for one in rig.services))


def calls_of_singles(rig: Several, services: list[RunningService], name: str) -> int:
    """Synchronous requests of one document each, all at once, spread over the instances. Returns the sign calls.

    However busy the machine is, they are all there before the first call ends: until then the signing service stands still.
    """
    contents = [invoice(number, size_bytes=10_000) for number in range(SINGLES)]
    together, before = threading.Barrier(SINGLES), rig.sandbox.sign_calls()
    registered = "SELECT count(*) FROM operations"
    registered_before = rig.count(registered)

    def one(number: int) -> int:
        body = batch(f"{name} {number}", [contents[number]])
        together.wait()
        return post(services[number % len(services)], body, SYNC)[0]

    with ThreadPoolExecutor(SINGLES) as pool:
        with rig.sandbox.stopped():
            sending = [pool.submit(one, number) for number in range(SINGLES)]
            until(lambda: rig.count(registered) - registered_before == SINGLES)
        statuses = [each.result() for each in sending]
    assert set(statuses) == {200}, statuses
    return rig.sandbox.sign_calls() - before


def calls_of_batches(rig: Several, services: list[RunningService], name: str, batches: int) -> int:
    """Batches of some callers, each of which waits for the end of one before it sends the next. Returns the sign calls."""
    before = rig.sandbox.sign_calls()

    def one(number: int) -> str:
        service, reference = services[number % len(services)], f"{name} {number}"
        assert post(service, batch(reference, numbered(number, BATCH_DOCUMENTS)))[0] == 200
        return str(finished(service, reference, FINISHED_SECONDS).status)

    with ThreadPoolExecutor(CALLERS) as pool:
        assert set(pool.map(one, range(batches))) == {"EXECUTED"}
    return rig.sandbox.sign_calls() - before


@drill("calls-of-several", quick=1, short=3, long=10, apart=True, store="shared")
def calls_of_several(folder: Path) -> Iterator[Trial]:
    """Three instances make at most 1.05 times the calls of one, and fifty single requests at once share six calls."""
    batches = BATCHES if registry.FULL else FEW_BATCHES

    def measured(place: Path, count: int) -> tuple[int, int]:
        place.mkdir()
        place.chmod(0o711)
        with several(place, f"--latency={1000 * CALL_SECONDS:.0f}", f"--multisign={CALL_DIGESTS}") as rig:
            services = [rig.start(f"i{number}") for number in range(count)]
            if count > 1:
                know_each_other(rig, count)
            assert post(services[0], batch("first", documents(1)), SYNC)[0] == 200
            singles = calls_of_singles(rig, services, "single")
            made = calls_of_batches(rig, services, "batch", batches)
            assert rig.sandbox.callers_at_once() == 1, "two instances had calls of one credential under way"
            return singles, made

    def trial(number: int) -> Figures:
        alone, one = measured(folder / f"one {number}", 1)
        singles, several_calls = measured(folder / f"several {number}", INSTANCES)
        said = f"{SINGLES} single requests took {singles} calls, and {alone} at one instance"
        assert singles <= MOST_CALLS_OF_SINGLES, said
        over = several_calls / one
        assert over <= MOST_OVER_ONE, f"{several_calls} calls in place of {one}"
        return {"calls_over_one_max": over, "calls_of_singles_max": singles, "calls_of_singles_at_one_max": alone}

    yield trial
