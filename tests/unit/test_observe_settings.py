"""The settings about metrics, logs and traces that do not go together, or make no sense."""

import pytest

from batchseal.errors import ConfigurationError
from batchseal.settings.load import load_settings


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"metrics_on_api": "false"}, "give --management-port too"),
        ({"management_port": "70000"}, "70000 is not a port"),
        ({"log_format": "xml"}, "--log-format: 'xml' is not one of text, json, ecs"),
        ({"log_to": "a file"}, "--log-to"),
        ({"log_to": "syslog+tls://host"}, "--log-to"),
        ({"log_to": "syslog+tls://host:none"}, "--log-to"),
        ({"otlp_endpoint": "collector:4317"}, "--otlp-endpoint"),
        ({"trace_percent": "101"}, "from 0 to 100"),
    ],
)
def test_they_are_refused_by_name(flags, said):
    with pytest.raises(ConfigurationError) as refused:
        load_settings(flags, {})
    assert said in refused.value.cause


def test_they_go_together():
    flags = {"metrics_on_api": "false", "management_port": "9090", "log_to": "syslog+tls://log.example:6514"}
    settings = load_settings(flags, {"BATCHSEAL_TRACE_PERCENT": "0.5"})
    assert not settings.metrics_on_api and settings.trace_percent == 0.5 and settings.management_host == "127.0.0.1"
