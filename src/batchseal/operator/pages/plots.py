"""Plots of the last hour, day or month, from the table of samples. Under each stands the table that it is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.operator import Sample


@dataclass(frozen=True, slots=True)
class Range:
    """A range of time and the step of its samples."""

    seconds: int
    step_seconds: int


RANGES = {"1h": Range(3600, 60), "24h": Range(86_400, 900), "30d": Range(30 * 86_400, 21_600)}


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: its title, its unit, and its lines as (metric, title)."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


# The names of the metrics are those of store/samples.py.
PLOTS = (
    Plot(
        "Documents a minute",
        "documents",
        (("documents_received", "Received"), ("documents_signed", "Signed"), ("documents_failed", "Failed")),
    ),
    Plot("Queue", "documents", (("queue_documents", "In the queue"),)),
    Plot("Oldest operation in the queue", "s", (("queue_oldest_seconds", "Oldest one waits"),)),
    Plot(
        "Time until signed, batches",
        "s",
        (("batch_p50_seconds", "Half of them within"), ("batch_p95_seconds", "95 % within")),
    ),
    Plot(
        "Time until signed, one document",
        "s",
        (("single_p50_seconds", "Half of them within"), ("single_p95_seconds", "95 % within")),
    ),
    Plot("Operations that wait for another try", "operations", (("operations_waiting", "Waiting for another try"),)),
    Plot(
        "Calls to the signing service a minute",
        "calls",
        (("upstream_calls", "Calls"), ("upstream_calls_failed", "Failed")),
    ),
    Plot("Database", "bytes", (("database_bytes", "Database"),)),
)


class PlotPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/plots", Right.VIEW, self.show)

    async def show(self, request: Request) -> Reply:
        name = request.asked("range", "1h")
        chosen = RANGES.get(name) or RANGES["1h"]
        until = datetime.now(UTC)
        since = until - timedelta(seconds=chosen.seconds)
        metrics = [metric for plot in PLOTS for metric, _ in plot.lines]
        samples = await self._parts.store.samples(metrics, since, until, chosen.step_seconds)
        return self._parts.renderer.page(
            request,
            "plots.html",
            plots=[(plot, rows_of(plot, samples, chosen.step_seconds)) for plot in PLOTS],
            ranges=list(RANGES),
            chosen=name if name in RANGES else "1h",
        )


def rows_of(
    plot: Plot, samples: dict[str, list[Sample]], step_seconds: int
) -> list[tuple[datetime, Sequence[float | None]]]:
    """The values of a plot by time, the oldest first: one for each line, None where a line has no sample then.

    Where steps are missing, since the service did not run, one of them stands there without values: a line is broken there.
    """
    by_time: dict[datetime, list[float | None]] = {}
    for place, (metric, _) in enumerate(plot.lines):
        for sample in samples.get(metric, []):
            by_time.setdefault(sample.at, [None] * len(plot.lines))[place] = sample.mean
    step, times = timedelta(seconds=step_seconds), sorted(by_time)
    for before, after in pairwise(times):
        if after - before > step * 1.5:
            by_time[before + step] = [None] * len(plot.lines)
    return sorted(by_time.items())
