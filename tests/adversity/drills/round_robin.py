"""Calls of every kind, each to another instance than the call before it."""

from collections.abc import Iterator
from pathlib import Path

from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.mixed_calls import add_stranger, callers_of, run_all
from tests.support.several import several

CALLERS = 3
# In the suite, in `make drills`, and in its long form.
CALLS, FULL_CALLS, LONG_CALLS = 150, 1_000, 10_000
ADVERTISED = ("seal.example", 443)
FLAGS = ("--server.host.port=seal.example:443", "--drain-seconds=0")


@drill("round-robin", quick=2, short=4, long=2, apart=True)
def round_robin(folder: Path) -> Iterator[Trial]:
    """No answer is wrong, at whichever instance a call lands.

    There are three that read the same payloads, then two that keep them to themselves, then the other way round.
    """
    calls = LONG_CALLS if registry.LONG else FULL_CALLS if registry.FULL else CALLS

    def trial(number: int) -> Figures:
        place = folder / f"trial {number}"
        place.mkdir()
        place.chmod(0o711)
        count = (3, 2, 2, 3)[number % 4]
        with several(place, shared=number % 2 == 0) as rig:
            add_stranger(rig.sandbox.services)
            instances = {name: rig.start(name, *rig.roles, *FLAGS) for name in [f"i{one}" for one in range(count)]}
            callers = callers_of(rig, instances, CALLERS, "caller", documents_each=3, advertised=ADVERTISED)
            made, wrong = run_all(callers, calls)
        assert not wrong, f"{len(wrong)} of {made.total()} answers are wrong, such as {wrong[0]}"
        return {"calls_max": made.total(), "instances_max": count, "wrong_max": len(wrong)}

    yield trial
