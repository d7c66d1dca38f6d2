"""What is counted for `/metrics`: requests, their seconds, and bytes in. Several workers count together, whichever is asked."""

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
FILE_BYTES = 256 << 10  # takes all routes with all of their statuses


class Metrics:
    """One for each process. `worker` is its number, from 1, among those that count in `folder`; 0 counts alone, in memory."""

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
        """Counts a request that has ended; status 0 is one without a reply."""
        route = exchange.route or "none"
        self._requests.labels(route, str(exchange.status)).inc()
        self._seconds.labels(route).observe(duration_seconds)
        self._body_bytes.inc(exchange.body_bytes)

    def exposition(self, numbers: Mapping[str, float]) -> tuple[bytes, bytes]:
        """Content type and text in Prometheus' format. `numbers` are the signer's, by name."""
        lines = []
        for name, value in numbers.items():
            lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name} {value}"]
        text = generate_latest(self._registry) + "".join(f"{line}\n" for line in lines).encode()
        return CONTENT_TYPE_LATEST.encode(), text


def share(folder: Path, worker: int) -> None:
    """This process counts in files of `folder`, on from what the one of its number before it did. Raises ConfigurationError."""
    try:
        for kind in ("counter", "histogram"):
            os.close(open_mapped(folder / f"{kind}_{worker}.db", FILE_BYTES))
    except OSError as problem:
        raise ConfigurationError(f"{folder} takes no file of counts: {problem.strerror}") from None
    set_for_libraries("PROMETHEUS_MULTIPROC_DIR", str(folder))
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
