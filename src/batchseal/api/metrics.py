"""Counts requests, their duration and the bytes of their bodies for `/metrics`.

Several workers share their counts through files, so that any of them can answer for all.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from batchseal.api.exchange import Exchange
from batchseal.errors import ConfigurationError
from batchseal.settings.load import set_for_libraries
from batchseal.system.disk import open_mapped

BUCKETS_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 30, 100, 300)
FILE_BYTES = 256 << 10  # Enough for all routes with all of their statuses.


class Metrics:
    """The counts of one process.

    `worker` is the number of this worker, from 1; it shares its counts with the others in `folder`. With 0, the process is
    the only worker and counts in memory. Raises ConfigurationError if `folder` cannot be written.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        self._registry = CollectorRegistry()
        counted = CollectorRegistry() if worker else self._registry
        if worker:
            share(folder, worker)
            MultiProcessCollector(self._registry, str(folder))  # type: ignore[no-untyped-call]
        else:
            ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "batchseal_requests", "Requests by route and HTTP status.", ("route", "status"), registry=counted
        )
        self._body_bytes = Counter("batchseal_request_body_bytes", "Bytes of request bodies read.", registry=counted)
        self._seconds = Histogram(
            "batchseal_request_seconds",
            "Seconds from the headers to the end of the reply, by route.",
            ("route",),
            buckets=BUCKETS_SECONDS,
            registry=counted,
        )

    def observe(self, exchange: Exchange, duration_seconds: float) -> None:
        """Counts a request that has ended. Its status is 0 if no reply was sent."""
        route = exchange.route or "none"
        self._requests.labels(route, str(exchange.status)).inc()
        self._seconds.labels(route).observe(duration_seconds)
        self._body_bytes.inc(exchange.body_bytes)

    def exposition(self, numbers: Mapping[str, float]) -> tuple[bytes, bytes]:
        """Content type and body in Prometheus' text format.

        `numbers` are further values by name (`OfferedService.numbers`): counters if the name ends in `_total`, else gauges.
        """
        lines = []
        for name, value in numbers.items():
            lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name} {value}"]
        text = generate_latest(self._registry) + "".join(f"{line}\n" for line in lines).encode()
        return CONTENT_TYPE_LATEST.encode(), text


def share(folder: Path, worker: int) -> None:
    """Makes this process keep its counts in files of `folder`.

    A worker that was restarted continues the counts of the worker before it that had the same number. Raises
    ConfigurationError if the files cannot be made.
    """
    try:
        for kind in ("counter", "histogram"):
            os.close(open_mapped(folder / f"{kind}_{worker}.db", FILE_BYTES))
    except OSError as problem:
        raise ConfigurationError(f"the counts for /metrics cannot be kept in {folder}: {problem.strerror}") from None
    set_for_libraries("PROMETHEUS_MULTIPROC_DIR", str(folder))
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
