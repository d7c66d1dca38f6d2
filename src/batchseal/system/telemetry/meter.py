"""`Meter` counts for the metrics of a process that has no HTTP server of its own: the signer.

Its samples go to a worker over the link, by their names in the text format of Prometheus. The package prometheus_client is not
needed for that, and not loaded.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic

from batchseal.system.telemetry.declared import DECLARED, Kind, Metric

# Stands for all values of a label beyond the number that the metric allows.
OTHER = "other"
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Meter:
    """The counts of one process. Any thread may use them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._buckets: dict[str, dict[tuple[str, ...], list[int]]] = {}
        self._seen: dict[tuple[str, int], set[str]] = {}
        self._taken = set[tuple[str, tuple[str, ...]]]()  # names with labels that are counted as they are

    def add(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Adds to a counter. `labels` are the values of the metric's labels, in its order."""
        with self._lock:
            key = self._key(DECLARED[name], labels)
            counts = self._values.setdefault(name, {})
            counts[key] = counts.get(key, 0.0) + amount

    def set(self, name: str, *labels: str, value: float) -> None:
        """Sets a gauge."""
        with self._lock:
            self._values.setdefault(name, {})[self._key(DECLARED[name], labels)] = value

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Adds one value to a histogram."""
        metric = DECLARED[name]
        with self._lock:
            key = self._key(metric, labels)
            sums = self._values.setdefault(name, {})
            sums[key] = sums.get(key, 0.0) + value
            counts = self._buckets.setdefault(name, {}).setdefault(key, [0] * (len(metric.buckets) + 1))
            counts[bisect_left(metric.buckets, value)] += 1

    @contextmanager
    def timed(self, name: str, *labels: str) -> Iterator[None]:
        """Observes how long the block takes, whether or not it raises."""
        began = monotonic()
        try:
            yield
        finally:
            self.observe(name, *labels, value=monotonic() - began)

    def begin(self) -> None:
        """Gives counters without labels the value 0, so that their first increase is seen as one."""
        for name, metric in DECLARED.items():
            if metric.kind is Kind.COUNTER and not metric.labels and not metric.by_workers:
                self.add(name, amount=0.0)

    def samples(self) -> dict[str, float]:
        """All samples by name and labels, as they stand in the text format."""
        found: dict[str, float] = {}
        with self._lock:
            for name, values in self._values.items():
                metric = DECLARED[name]
                for key, value in values.items():
                    if metric.kind is Kind.HISTOGRAM:
                        found |= self._histogram(metric, key, value)
                    else:
                        found[sample(name, metric.labels, key)] = value
        return found

    def _histogram(self, metric: Metric, key: tuple[str, ...], total: float) -> dict[str, float]:
        counts, seen, found = self._buckets[metric.name][key], 0, dict[str, float]()
        for bound, count in zip((*(f"{b:g}" for b in metric.buckets), "+Inf"), counts, strict=True):
            seen += count
            found[sample(f"{metric.name}_bucket", (*metric.labels, "le"), (*key, bound))] = float(seen)
        found[sample(f"{metric.name}_count", metric.labels, key)] = float(seen)
        found[sample(f"{metric.name}_sum", metric.labels, key)] = total
        return found

    def _key(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The values of the labels, as far as there may be so many of them. Raises ValueError for another number of labels."""
        if (metric.name, labels) in self._taken:
            return labels
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}")
        key = tuple(self._bounded(metric, place, value) for place, value in enumerate(labels))
        if key == labels:
            self._taken.add((metric.name, key))
        return key

    def _bounded(self, metric: Metric, place: int, value: str) -> str:
        seen = self._seen.setdefault((metric.name, place), set())
        if value not in seen:
            if len(seen) >= metric.most:
                return OTHER
            seen.add(value)
        return value


def sample(name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    """A sample's name with its labels, in the text format of Prometheus."""
    if not labels:
        return name
    pairs = ",".join(f'{label}="{value.translate(ESCAPES)}"' for label, value in zip(labels, values, strict=True))
    return f"{name}{{{pairs}}}"


# The counts of this process. A process has one log and one set of counts, so both are found by import.
METER = Meter()
