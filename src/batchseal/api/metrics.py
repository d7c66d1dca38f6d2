"""Counts requests, their duration, the bytes of their bodies and the documents in them, for `/metrics`.

Several workers share their counts through files, so that any of them can answer for all. What the metrics mean is declared in
`system/telemetry/declared.py`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from batchseal.api.exchange import Exchange
from batchseal.errors import ConfigurationError
from batchseal.settings.load import set_for_libraries
from batchseal.system.disk import open_mapped
from batchseal.system.telemetry.declared import DECLARED
from batchseal.system.telemetry.exposition import written
from batchseal.system.telemetry.meter import OTHER

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
        self._requests = counter("batchseal_requests_total", counted)
        self._body_bytes = counter("batchseal_request_body_bytes_total", counted)
        self._documents = counter("batchseal_documents_received_total", counted)
        seconds = DECLARED["batchseal_request_seconds"]
        self._seconds = Histogram(
            *(seconds.name, seconds.help, seconds.labels), buckets=seconds.buckets, registry=counted
        )
        self._clients: set[str] = set()  # as many as the label may have values

    def observe(self, exchange: Exchange, duration_seconds: float) -> None:
        """Counts a request that has ended. Its status is 0 if no reply was sent."""
        route = exchange.route or "none"
        self._requests.labels(route, str(exchange.status)).inc()
        self._seconds.labels(route).observe(duration_seconds)
        self._body_bytes.inc(exchange.body_bytes)

    def received(self, client_service: str, documents: Mapping[str, int]) -> None:
        """Counts the documents of an accepted request, by their media type."""
        if client_service not in self._clients:
            if len(self._clients) >= DECLARED["batchseal_documents_received_total"].most:
                client_service = OTHER
            self._clients.add(client_service)
        for media_type, count in documents.items():
            self._documents.labels(client_service, shown_type(media_type)).inc(count)

    def exposition(self, numbers: Mapping[str, float], *, inner: bool) -> tuple[bytes, bytes]:
        """Content type and body in Prometheus' text format.

        `numbers` are further samples by name (`OfferedService.numbers`). `inner`: also the metrics whose labels strangers must
        not learn.
        """
        text = generate_latest(Described(self._registry, inner)) + written(numbers, inner=inner).encode()
        return CONTENT_TYPE_LATEST.encode(), text


def counter(name: str, registry: CollectorRegistry) -> Counter:
    """A counter that is declared under this name."""
    metric = DECLARED[name]
    return Counter(name.removesuffix("_total"), metric.help, metric.labels, registry=registry)


def shown_type(media_type: str) -> str:
    """The media type as a label. Callers choose it, so only those that are signed in a way of their own have their names."""
    return media_type if media_type in ("application/pdf", "application/xml", "text/xml") else OTHER


@dataclass(frozen=True, slots=True)
class Described:
    """A registry whose metrics have the help that is declared: where workers share their counts, the files do not hold it."""

    registry: CollectorRegistry
    inner: bool

    def collect(self) -> Iterator[Family]:
        for family in self.registry.collect():
            declared = DECLARED.get(family.name) or DECLARED.get(f"{family.name}_total")
            if declared is not None:
                if declared.is_inner and not self.inner:
                    continue
                family.documentation = declared.help
            yield family


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
