"""The settings about metrics, health, logs and traces. `options.py` has the rest."""

from dataclasses import dataclass

from batchseal.errors import ConfigurationError
from batchseal.settings.declaration import option
from batchseal.settings.hot_folder_options import HotFolderOptions

GROUP = "observation"
SYSLOG = "syslog+tls://"


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class ObserveOptions(HotFolderOptions):
    """Everything about what an operator sees from outside, on top of the settings about hot folders."""

    management_port: int = option(
        0,
        "a port of its own for /metrics, /health/live and /health/ready with the state of each part, without TLS and without "
        "a login; 0: none",
        group=GROUP,
    )
    management_host: str = option(
        "127.0.0.1", "the address that --management-port is opened on; nobody but operators may reach it", group=GROUP
    )
    metrics_on_api: bool = option(
        True, "answer /metrics at --port too; it can be switched off where --management-port is set", group=GROUP
    )
    log_format: str = option(
        "",
        "how lines of the log are written: text for people, json, or ecs (Elastic Common Schema)",
        choices=("text", "json", "ecs"),
        shown="text on a terminal, else json",
        group=GROUP,
    )
    log_to: str = option(
        "stderr", f"where the log goes: stderr, stdout, or {SYSLOG}HOST:PORT (RFC 5424 over TLS)", group=GROUP
    )
    log_syslog_ca: str = option(
        "",
        "PEM file with the certificate authorities that the server of --log-to may have; empty: those of the system",
        group=GROUP,
    )
    log_masked: bool = option(
        False,
        "replace external references and names of documents in the log by a digest, the same for the same text until the "
        "service is started again",
        group=GROUP,
    )
    otlp_endpoint: str = option(
        "",
        "address of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318, that gets traces; it needs "
        "the packages of batchseal[otel]; empty: no traces",
        group=GROUP,
    )
    trace_percent: float = option(
        100.0,
        "percent of the requests without a trace of their caller's that are traced; a caller's own choice is kept",
        group=GROUP,
    )


def check_observation(settings: ObserveOptions) -> None:
    """Raises ConfigurationError where these settings are wrong or do not go together."""
    if not 0 <= settings.management_port <= 65535:
        raise ConfigurationError(f"--management-port: {settings.management_port} is not a port")
    if not settings.metrics_on_api and not settings.management_port:
        raise ConfigurationError("--metrics-on-api=false leaves no metrics: give --management-port too")
    if settings.log_to not in ("stderr", "stdout") and not _is_server(settings.log_to, SYSLOG):
        raise ConfigurationError(f"--log-to: {settings.log_to!r} is not stderr, stdout or {SYSLOG}HOST:PORT")
    if settings.log_syslog_ca:
        _check_authorities(settings.log_syslog_ca)
    if settings.otlp_endpoint and not settings.otlp_endpoint.startswith(("http://", "https://")):
        raise ConfigurationError("--otlp-endpoint: must begin with http:// or https://")
    if not 0 <= settings.trace_percent <= 100:
        raise ConfigurationError(f"--trace-percent: {settings.trace_percent} must be from 0 to 100")


def _check_authorities(path: str) -> None:
    import ssl  # not for the health probe, which must stay small

    try:
        ssl.create_default_context(cafile=path)
    except OSError as problem:
        raise ConfigurationError(f"--log-syslog-ca: {path}: {problem.strerror or 'holds no certificate'}") from None


def _is_server(address: str, scheme: str) -> bool:
    from urllib.parse import urlsplit  # not for the health probe, which must stay small

    try:
        parts = urlsplit(address)
        return address.startswith(scheme) and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return False
