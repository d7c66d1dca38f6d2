"""Calls of every kind, each to another instance than the call before it, or to whichever a load balancer chooses."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from harness.several import several
from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.balancers import BALANCERS
from tests.support.mixed_calls import add_stranger, callers_of, run_all

CALLERS = 3
# In the suite, in `make drills`, and in its long form.
CALLS, FULL_CALLS, LONG_CALLS = 150, 1_000, 10_000
BALANCED_CALLS = 300
ADVERTISED = ("seal.example", 443)
FLAGS = ("--server.host.port=seal.example:443", "--drain-seconds=0")


def mixed_calls(folder: Path, instances: int, *, shared: bool, calls: int, balancer: str = "") -> Figures:
    """No answer is wrong. `balancer` names what stands before the instances; empty: callers take turns themselves."""
    folder.mkdir()
    folder.chmod(0o711)
    with ExitStack() as stack:
        rig = stack.enter_context(several(folder, shared=shared))
        add_stranger(rig.sandbox.services)
        services = {name: rig.start(name, *rig.roles, *FLAGS) for name in [f"i{one}" for one in range(instances)]}
        address = ""
        if balancer:
            running = stack.enter_context(BALANCERS[balancer](folder, *(one.port for one in services.values())))
            address = f"http://127.0.0.1:{running.port}"
        callers = callers_of(
            rig, services, CALLERS, "caller", documents_each=3, balancer=address, advertised=ADVERTISED
        )
        made, wrong = run_all(callers, calls)
    assert not wrong, f"{len(wrong)} of {made.total()} answers are wrong, such as {wrong[0]}"
    return {"calls_max": made.total(), "instances_max": instances, "wrong_max": len(wrong)}


@drill("round-robin", quick=2, short=4, long=2, apart=True, store="shared, local")
def round_robin(folder: Path) -> Iterator[Trial]:
    """No answer is wrong, at whichever instance a call lands.

    There are three that read the same payloads, then two that keep them to themselves, then the other way round.
    """
    calls = LONG_CALLS if registry.LONG else FULL_CALLS if registry.FULL else CALLS

    def trial(number: int) -> Figures:
        count = (3, 2, 2, 3)[number % 4]
        return mixed_calls(folder / f"trial {number}", count, shared=number % 2 == 0, calls=calls)

    yield trial


def behind(balancer: str) -> Callable[[Path], Iterator[Trial]]:
    """Three instances that read the same payloads, behind a load balancer with the configuration that the project ships."""

    def opened(folder: Path) -> Iterator[Trial]:
        calls = LONG_CALLS if registry.LONG else FULL_CALLS if registry.FULL else BALANCED_CALLS
        yield lambda number: mixed_calls(folder / f"trial {number}", 3, shared=True, calls=calls, balancer=balancer)

    return opened


for _name in BALANCERS:
    drill(f"round-robin-{_name}", quick=1, short=2, long=1, needs=(_name,), apart=True, store="shared")(behind(_name))
