"""The declared metrics: their names, what they mean, how they are counted and written; and who names them elsewhere."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batchseal.system.telemetry.declared import DECLARED, Kind
from batchseal.system.telemetry.exposition import metric_of, written
from batchseal.system.telemetry.meter import OTHER, Meter

CHART = Path(__file__).parents[2] / "chart" / "files"
# What a name ends in says its unit (prometheus.io/docs/practices/naming).
UNITS = ("seconds", "bytes", "ratio", "info", "total")
# They are older than the convention, and stay valid.
OLDER = {"batchseal_certificate_days_left"}


@pytest.mark.parametrize("metric", DECLARED.values(), ids=lambda metric: metric.name)
def test_a_metric_follows_the_conventions(metric):
    assert re.fullmatch(r"batchseal_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert metric.help.endswith(".") and len(metric.help) > 15
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM) and list(metric.buckets) == sorted(metric.buckets)
    assert not {"operation", "document", "reference"} & set(metric.labels) or metric.name.startswith("batchseal_store")
    for unit in ("milliseconds", "minutes", "days", "kilobytes", "megabytes"):
        assert f"_{unit}" not in metric.name or metric.name in OLDER


def test_samples_are_written_as_prometheus_reads_them():
    meter = Meter()
    meter.add("batchseal_documents_signed_total", 'a "quoted"\nname\\', amount=3)
    meter.set("batchseal_queue_documents", value=7)
    for seconds in (0.1, 0.3, 7, 100):
        meter.observe("batchseal_upstream_call_seconds", "seal", "signed", value=seconds)
    text = written(meter.samples(), inner=True)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (signed,) = families["batchseal_documents_signed"].samples
    assert signed.labels == {"client_service": 'a "quoted"\nname\\'} and signed.value == 3
    calls = families["batchseal_upstream_call_seconds"]
    assert calls.type == "histogram" and calls.documentation == DECLARED["batchseal_upstream_call_seconds"].help
    buckets = {s.labels["le"]: s.value for s in calls.samples if s.name.endswith("_bucket")}
    assert (buckets["0.05"], buckets["0.2"], buckets["0.5"], buckets["15"], buckets["+Inf"]) == (0, 1, 2, 3, 4)
    assert {s.name[-6:]: s.value for s in calls.samples}["_count"] == 4
    assert families["batchseal_queue_documents"].samples[0].value == 7


def test_every_metric_of_the_signer_has_help_and_type_before_it_has_a_sample():
    text = written({}, inner=True)
    for name, metric in DECLARED.items():
        assert (f"# TYPE {name} {metric.kind}\n" in text) == (not metric.by_workers)


def test_strangers_do_not_see_labels_that_name_somebody():
    meter = Meter()
    meter.add("batchseal_documents_signed_total", "a customer")
    meter.set("batchseal_certificate_expiry_timestamp_seconds", "a credential", value=1)
    meter.set("batchseal_queue_documents", value=1)
    text = written(meter.samples(), inner=False)
    assert "batchseal_queue_documents 1" in text
    assert "a customer" not in text and 'a credential"' not in text and "documents_signed" not in text


def test_a_number_that_is_not_declared_is_written_all_the_same():
    text = written({"batchseal_new_total": 2.0, "batchseal_new": 1.0}, inner=True)
    assert "# TYPE batchseal_new_total counter\nbatchseal_new_total 2.0\n" in text
    assert "# TYPE batchseal_new gauge\n" in text


def test_labels_have_a_bounded_number_of_values():
    meter, most = Meter(), DECLARED["batchseal_documents_signed_total"].most
    for number in range(most + 50):
        meter.add("batchseal_documents_signed_total", f"service {number}")
    samples = meter.samples()
    assert len(samples) == most + 1
    assert samples[f'batchseal_documents_signed_total{{client_service="{OTHER}"}}'] == 50


def test_a_wrong_number_of_labels_is_a_mistake_of_the_program():
    with pytest.raises(ValueError, match="labels"):
        Meter().add("batchseal_documents_signed_total")


def test_counters_without_labels_begin_at_zero():
    meter = Meter()
    meter.begin()
    assert meter.samples()["batchseal_leases_lost_total"] == 0


def names_in(text: str) -> set[str]:
    return {metric_of(name) for name in re.findall(r"batchseal_[a-z0-9_]+", text)}


def test_the_dashboard_and_the_alert_rules_name_declared_metrics_alone():
    expressions = [
        target["expr"]
        for panel in json.loads((CHART / "dashboard.json").read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    assert len(expressions) > 30
    named = names_in(" ".join(expressions))
    alerts = names_in(
        "".join(re.findall(r"expr:(.*?)\n        (?:for|labels)", (CHART / "alerts.yaml").read_text(), re.S))
    )
    assert len(named) > 25 and len(alerts) > 10
    assert (named | alerts) - DECLARED.keys() == set()


def test_labels_that_the_dashboard_uses_exist():
    text = (CHART / "dashboard.json").read_text() + (CHART / "alerts.yaml").read_text()
    known = {label for metric in DECLARED.values() for label in metric.labels} | {"le", "instance"}
    for group in re.findall(r"\bby \(([^)]*)\)", text):
        assert set(group.replace(" ", "").split(",")) <= known, group
    assert set(re.findall(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}", text)) <= known
