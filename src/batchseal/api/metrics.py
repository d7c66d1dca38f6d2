"""What this process counts for `/metrics`: requests, their seconds, bytes in, and requests under way."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from batchseal.api.exchange import Exchange

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

requests = Counter("batchseal_requests", "Requests by route and HTTP status.", ("route", "status"), registry=REGISTRY)
body_bytes = Counter("batchseal_request_body_bytes", "Bytes of request bodies read.", registry=REGISTRY)
seconds = Histogram(
    "batchseal_request_seconds",
    "Seconds from the headers to the end of the reply, by route.",
    ("route",),
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 30, 100, 300),
    registry=REGISTRY,
)


def observe(exchange: Exchange, duration_seconds: float) -> None:
    """Counts a request that has ended; status 0 is one without a reply."""
    route = exchange.route or "none"
    requests.labels(route, str(exchange.status)).inc()
    seconds.labels(route).observe(duration_seconds)
    body_bytes.inc(exchange.body_bytes)


def exposition(numbers: Mapping[str, float]) -> tuple[bytes, bytes]:
    """Content type and text in Prometheus' format. `numbers` are the signer's, by name."""
    lines = []
    for name, value in numbers.items():
        lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name} {value}"]
    return CONTENT_TYPE_LATEST.encode(), generate_latest(REGISTRY) + "".join(f"{line}\n" for line in lines).encode()
