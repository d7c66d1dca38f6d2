"""The settings: `OPTIONS` is the only list of them. `config` feeds them from flags, environment and file."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

VENDOR = "einvoice-integration-client."


def option(
    default: Any,
    help: str,
    *,
    dotted: str = "",
    group: str = "service",
    choices: Iterable[str] = (),
    variable: str = "",
    secret: bool = False,
) -> Any:
    """Declares a setting; `dotted` is the original product's name for it, without dashes in front; `variable` is one more
    environment variable that sets it."""
    metadata = {"help": help, "dotted": dotted, "group": group, "choices": tuple(choices), "variable": variable}
    return field(default=default, metadata=metadata, repr=not secret)


def upstream(default: Any, help: str, **more: Any) -> Any:
    return option(default, help, group="upstream", **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of `serve`. Sizes are bytes, times are seconds, unless the name says otherwise."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8080, "port to listen on")
    advertised_address: str = option("", "HOST:PORT that replies name; empty: host and port", dotted="server.host.port")
    work_folder: Path = option(Path("./work"), "folder of client-services-config.json")
    temp_folder: Path = option(Path("/tmp/batchseal"), "folder of payloads, embedded database and sandbox keys")
    tls_certificate: str = option("", "PEM file: listen with TLS, with this certificate and its chain")
    tls_key: str = option("", "PEM file of the certificate's key, unencrypted")
    tls_client_ca: str = option("", "PEM file of authorities: callers must show a certificate of one of these")
    workers: int = option(0, "processes that receive requests; 0: by cores and memory")
    config: str = option("", "TOML file of settings, by their names here; flags and environment win over it")
    kernel: str = option("", "instruction set of the native kernels; empty: the best this processor has")
    log_level: str = option("info", "how much the log says", choices=("debug", "info", "warning", "error"))

    service_domain: str = option(
        "",
        "address of the signing service; empty: the built-in sandbox",
        dotted=VENDOR + "service.domain",
        group="upstream",
    )
    proxy_hostname: str = option(
        "", "outbound HTTP proxy", dotted=VENDOR + "rest.provider.proxy.hostname", group="upstream"
    )
    proxy_port: int = option(
        0, "port of the outbound proxy", dotted=VENDOR + "rest.provider.proxy.port", group="upstream"
    )
    proxy_user: str = upstream("", "user of the outbound proxy", dotted=VENDOR + "rest.provider.proxy.username")
    proxy_password: str = upstream(
        "", "its password, better given by the environment", dotted=VENDOR + "rest.provider.proxy.password", secret=True
    )
    no_proxy: str = upstream("", "hosts and domains reached directly, separated by commas", variable="NO_PROXY")
    ca_bundle: str = upstream("", "PEM file of certification authorities to trust instead of the system's")
    client_certificate: str = upstream("", "PEM file of the certificate shown to the signing service, key included")
    upstream_url: str = upstream(
        "",
        "where signatures come from: https://..., pkcs12:FILE or pkcs11:...; empty: the service domain",
        dotted="upstream.url",
    )
    upstream_protocol: str = upstream(
        "auto", "version of the CSC API; auto asks", dotted="upstream.protocol", choices=("auto", "csc1", "csc2")
    )
    upstream_digests: str = upstream("base64", "how digests are sent", choices=("base64", "urlencoded"))
    upstream_pss: bool = upstream(False, "sign with RSASSA-PSS where the credential offers it", dotted="upstream.pss")
    upstream_allow_http: bool = upstream(
        False, "allow a service domain without TLS that is not on loopback", dotted="upstream.allow-http"
    )
    upstream_tries: int = upstream(5, "how often a document is sent upstream before it is given up")
    upstream_timeout: int = upstream(60, "seconds that a call may take, beyond what its documents need")
    upstream_patience: int = upstream(86_400, "seconds after which an upstream that is away is waited for no more")
    timestamp_urls: str = upstream(
        "",
        "time stamp authorities (RFC 3161) in order of preference, separated by spaces; a budget may follow each: "
        "https://tsa.example/;20/1200 for 20 requests in 1,200 seconds",
        dotted="timestamp.urls",
    )
    timestamp_roots: str = upstream(
        "", "PEM file of the roots that time stamps are trusted for; empty: --ca-bundle or the system's"
    )

    database_url: str = option(
        "", "PostgreSQL to use instead of the embedded one", dotted="database.url", group="database"
    )
    postgres_bin: str = option(
        "", "folder of the PostgreSQL programs; empty: the ones that came along", group="database"
    )
    database_owner_url: str = option(
        "",
        "the same database as the role that owns its tables, to bring them up to date; empty: the same role",
        dotted="database.owner.url",
        group="database",
    )
    payload_hours_fetched: int = option(
        24, "hours that a payload is kept after its result was fetched", group="keeping"
    )
    payload_days_unfetched: int = option(7, "days that a payload is kept that nobody fetches", group="keeping")
    document_days: int = option(31, "days that document rows are kept after the end of their month", group="keeping")
    reference_days: int = option(3650, "days that an external reference stays taken", group="keeping")
    audit_days: int = option(400, "days that audit entries stay in the database after their month", group="keeping")
    audit_folder: str = option(
        "", "where audit entries are exported to; empty: audit in the work folder", group="keeping"
    )
    force_database_recreate: bool = option(
        False,
        "delete every operation and start with an empty database",
        dotted="force.database.recreate",
        group="database",
    )

    sync_deadline: int = option(100, "seconds that a synchronous request waits", dotted="sync.deadline", group="limits")
    max_body_bytes: int = option(2 << 30, "largest request body", group="limits")
    max_document_bytes: int = option(100 << 20, "largest document", group="limits")
    max_documents: int = option(10_000, "most documents in a request", group="limits")
    max_reference_characters: int = option(255, "longest external reference", group="limits")
    max_name_characters: int = option(255, "longest document name", group="limits")
    max_json_depth: int = option(16, "deepest nesting of a JSON body", group="limits")
    min_body_rate: int = option(
        1024, "bytes a second that a body must bring, averaged over the stall time; 0: any", group="limits"
    )
    files_in_flight: int = option(
        20_000, "files under way at once; sizes the temporary space and the queue", group="limits"
    )
    average_document_bytes: int = option(
        200_000, "average size of a file; twice files in flight times this is the temporary space", group="limits"
    )
    memory_limit: int = option(
        0, "bytes of memory for everything; 0: what the container or the machine has", group="limits"
    )
    max_queued_documents: int = option(0, "documents that may wait to be signed; 0: files in flight", group="limits")
    body_stall_seconds: int = option(30, "a body that stops for longer is cut", group="limits")
    header_seconds: int = option(10, "headers that take longer are cut", group="limits")

    compat_contract: str = option(
        "", "file that replaces the names and paths of contract.toml", dotted="compat.contract"
    )
    compat_vendor_status_codes: bool = option(
        False, "answer with the original product's HTTP status codes", dotted="compat.vendor-status-codes"
    )

    sandbox_credential: str = option(
        "rsa3072",
        "key of the sandbox signer",
        dotted="sandbox.credential",
        group="sandbox",
        choices=("rsa2048", "rsa3072", "rsa4096", "p256"),
    )
    sandbox_latency: int = option(
        0, "milliseconds that each sandbox call takes", dotted="sandbox.latency", group="sandbox"
    )
    sandbox_multisign: int = option(
        1000, "most digests in one sandbox call", dotted="sandbox.multisign", group="sandbox"
    )

    hot_folder_enabled: bool = option(
        False, "not built yet: sign what appears in folders", dotted="hot.folder.enabled", group="hot folder"
    )
    hot_folder_threshold: int = option(
        1000,
        "not built yet: documents a hot-folder request takes",
        dotted=VENDOR + "hot.folder.documents.processing.threshold",
        group="hot folder",
    )
    hot_folder_cron: str = option(
        "0 0/5 * * * ?",
        "not built yet: when hot folders are read",
        dotted=VENDOR + "scheduler.task.processHotFoldersByDocumentThreshold.cron-expression",
        group="hot folder",
    )
    hot_folder_lock_minutes: int = option(
        1440,
        "not built yet: how long a hot-folder task may hold its lock",
        dotted=VENDOR + "scheduler.task.handleSignatureTasks.lock-time",
        group="hot folder",
    )

    # For drills only, from the environment: the place where a process ends itself (system/crash_sites.py).
    crash_at: str = ""
    # What the supervisor finds out and hands down to the processes it starts.
    instance: str = ""
    services_path: str = ""
    worker: int = 0  # its number, from 1

    @property
    def advertised(self) -> tuple[str, int]:
        """Host and port that replies name: told, never discovered."""
        if not self.advertised_address:
            return self.host, self.port
        host, _, port = self.advertised_address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def uses_sandbox(self) -> bool:
        return not self.upstream_address

    @property
    def upstream_address(self) -> str:
        return self.upstream_url or self.service_domain

    @property
    def services_file(self) -> Path:
        return Path(self.services_path) if self.services_path else self.work_folder / "client-services-config.json"

    @property
    def sandbox_folder(self) -> Path:
        return self.temp_folder / "sandbox"

    @property
    def spill_folder(self) -> Path:
        return self.temp_folder / "spill"

    @property
    def ledger_path(self) -> Path:
        """What all workers have reserved."""
        return self.temp_folder / "admission.ledger"

    @property
    def metrics_folder(self) -> Path:
        """Where several workers count together."""
        return self.temp_folder / "metrics"

    @property
    def audit_path(self) -> Path:
        return Path(self.audit_folder) if self.audit_folder else self.work_folder / "audit"

    @property
    def dsn_path(self) -> Path:
        """Where the running service says how its embedded database is reached."""
        return self.temp_folder / "database.url"

    @property
    def link_path(self) -> Path:
        """Unix socket of the signer process."""
        return self.temp_folder / "signer.sock"


OPTIONS = {f.name: f for f in fields(Settings) if f.metadata}
