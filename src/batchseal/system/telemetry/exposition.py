"""Writes samples in the text format of Prometheus (exposition format 0.0.4): HELP and TYPE of each metric, then its samples."""

from collections.abc import Iterable, Mapping

from batchseal.system.telemetry.declared import DECLARED, Kind

# What the samples of a histogram add to its name.
PARTS = ("_bucket", "_count", "_sum")


def metric_of(sample: str) -> str:
    """The name of the metric that a sample belongs to."""
    name = sample.partition("{")[0]
    for part in PARTS:
        whole = name.removesuffix(part)
        if whole != name and whole in DECLARED and DECLARED[whole].kind is Kind.HISTOGRAM:
            return whole
    return name


def written(samples: Mapping[str, float], *, inner: bool) -> str:
    """The text of what the signer counts. `inner`: also the metrics whose labels strangers must not learn.

    Every declared metric has its HELP and TYPE, also while it has no sample. A number that is not declared is written too, as a
    counter if its name ends in `_total`, else as a gauge.
    """
    by_metric: dict[str, list[str]] = {}
    for name, value in samples.items():
        by_metric.setdefault(metric_of(name), []).append(f"{name} {value}")
    lines: list[str] = []
    for name, metric in DECLARED.items():
        if not metric.by_workers and (inner or not metric.is_inner):
            lines += [*head(name), *by_metric.get(name, ())]
    for name in sorted(by_metric.keys() - DECLARED.keys()):
        lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", *by_metric[name]]
    return "".join(f"{line}\n" for line in lines)


def head(name: str) -> Iterable[str]:
    """The lines HELP and TYPE of a declared metric."""
    metric = DECLARED[name]
    return f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"
