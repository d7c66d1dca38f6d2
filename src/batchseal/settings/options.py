"""The list of all settings, `OPTIONS`. How their values are read from flags, environment and file stands in `load.py`."""

import socket
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from batchseal.settings.declaration import option
from batchseal.settings.observe_options import ObserveOptions

# Where a system service keeps its state, if nothing says otherwise (Filesystem Hierarchy Standard 5.8).
SYSTEM_FOLDER = Path("/var/lib/batchseal")


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Settings(ObserveOptions):
    """All settings of `serve`. Sizes are in bytes and times in seconds, unless the name of a setting says otherwise."""

    # To compile a function with so many parameters would take most of the memory of the health probe.
    def __init__(self, **values: Any) -> None:
        """Raises TypeError for a name that is no setting."""
        for one in fields(self):
            object.__setattr__(self, one.name, values.pop(one.name, one.default))
        if values:
            raise TypeError(f"no settings: {', '.join(values)}")

    host: str = option("127.0.0.1", "the address that the service listens on")
    port: int = option(8080, "the port that the service listens on")
    advertised_address: str = option(
        "",
        "HOST:PORT that replies give as the address of the service; empty: --host and --port",
        dotted="server.host.port",
    )
    work_folder: Path = option(Path("./work"), "the folder with client-services-config.json")
    client_services_file: str = option(
        "", "the file with the client services, if it is not in --work-folder; batchseal-services.json stands beside it"
    )
    temp_folder: Path = option(
        SYSTEM_FOLDER,
        "the folder for payloads, the embedded database and the keys of the sandbox; nobody but this user may write to it",
        shown="$STATE_DIRECTORY; else batchseal in $XDG_STATE_HOME or ~/.local/state; else, and for root, "
        + str(SYSTEM_FOLDER),
    )
    tls_certificate: str = option("", "PEM file with a certificate and its chain; if set, the service listens with TLS")
    tls_key: str = option("", "PEM file with the private key of that certificate, not encrypted")
    tls_client_ca: str = option(
        "", "PEM file with certificate authorities; if set, callers need a certificate that one of them has issued"
    )
    token_key_file: str = option(
        "",
        "file with the keys of the tokens that the service issues, the same at all instances: one a line, base64 of 32 bytes; "
        "the first one signs, all verify; empty: a key in --database-url, or in the temp folder of an instance that is alone",
    )
    trusted_proxies: str = option(
        "",
        "addresses and networks of reverse proxies, separated by spaces; their X-Forwarded-For tells who the caller is",
    )
    workers: int = option(0, "number of processes that receive requests; 0: chosen by processors and memory")
    config: str = option(
        "", "TOML file with settings, under the names given here; flags and environment variables go before it"
    )
    kernel: str = option("", "instruction set that the native code uses; empty: the best one of this processor")
    log_level: str = option(
        "info", "the lowest level of messages that are logged", choices=("debug", "info", "warning", "error")
    )

    signature_level: str = option(
        "B",
        "the lowest level of every signature; a client service may ask for a higher one (T: with a time stamp)",
        dotted="signature.level",
        choices=("B", "T", "LT", "LTA"),
    )
    visible_pixels_per_point: float = option(
        1.0, "pixels of areas, coordinates and images of visible signatures that make a point of 1/72 inch"
    )
    visible_area: str = option("width=155,height=50", "area of a visible signature whose request names none, in pixels")
    visible_template: str = option(
        r"Digitally signed by $certificate.getCommonName()\n$date",
        r"text of a visible signature that has no other template, in the spelling of Velocity; \n ends a line",
    )

    payload_hours_fetched: int = option(
        24, "hours that a payload is kept after its complete result was fetched", group="keeping"
    )
    payload_days_unfetched: int = option(7, "days that a payload is kept if nobody fetches its result", group="keeping")
    payload_key_file: str = option(
        "",
        "file with the keys that payloads are encrypted with (AES-256-GCM): in each line an id and 32 random bytes in base64; "
        "the first one encrypts, every one decrypts; empty: payloads are not encrypted",
        group="keeping",
    )
    document_days: int = option(
        31, "days that the rows of documents are kept after the end of their month", group="keeping"
    )
    text_days: int = option(
        400,
        "days after its end for which the texts of an operation are kept: its description and the names of its documents; "
        "its id, reference, counts and dates stay",
        group="keeping",
    )
    reference_days: int = option(
        3650, "days after which the external reference of a finished operation may be used again", group="keeping"
    )
    audit_days: int = option(
        400,
        "days that audit entries stay in the database after the end of their month; then they are exported",
        group="keeping",
    )
    audit_folder: str = option(
        "", "folder that audit entries are exported to; empty: the folder audit in the work folder", group="keeping"
    )
    force_database_recreate: bool = option(
        False,
        "delete all operations at this start, and begin with an empty database; the next start with this setting is refused",
        dotted="force.database.recreate",
        group="database",
    )
    force_database_recreate_shared: bool = option(
        False,
        "allow --force-database-recreate with --database-url, where it deletes the operations of all instances",
        group="database",
    )

    drain_seconds: int = option(
        10,
        "seconds after a stop signal in which requests are still taken and /health/ready says 503, so that a load balancer "
        "notices; only while other instances use --database-url",
        group="limits",
    )
    stop_seconds: int = option(
        27,
        "seconds that a stop may take after --drain-seconds, of which requests under way get all but 9; give the container "
        "or system service more than both together",
        group="limits",
    )
    sync_deadline: int = option(
        100, "seconds that a synchronous request waits for its result", dotted="sync.deadline", group="limits"
    )
    max_body_bytes: int = option(2 << 30, "largest body of a request, in bytes", group="limits")
    max_document_bytes: int = option(100 << 20, "largest document, in bytes", group="limits")
    max_documents: int = option(10_000, "largest number of documents in a request", group="limits")
    max_reference_characters: int = option(255, "longest external reference, in characters", group="limits")
    max_name_characters: int = option(255, "longest name of a document, in characters", group="limits")
    max_description_characters: int = option(4000, "longest description of a request, in characters", group="limits")
    max_text_characters: int = option(
        1000, "longest reason, location and other text of a request, in characters", group="limits"
    )
    max_json_depth: int = option(16, "deepest nesting in a JSON body", group="limits")
    min_body_rate: int = option(
        1024,
        "lowest rate at which a body must arrive, in bytes per second, averaged over --body-stall-seconds; 0: no limit",
        group="limits",
    )
    min_reply_rate: int = option(
        1024,
        "lowest rate at which a caller must read a reply, in bytes per second, averaged over two minutes; 0: no limit",
        group="limits",
    )
    files_in_flight: int = option(
        20_000,
        "number of files that may be under way at the same time; the temporary space and the queue are sized for it",
        group="limits",
    )
    average_document_bytes: int = option(
        200_000,
        "average size of a file, in bytes; the temporary space is twice --files-in-flight times this",
        group="limits",
    )
    memory_limit: int = option(
        0, "bytes of memory for all processes together; 0: what the container or the machine has", group="limits"
    )
    max_queued_documents: int = option(
        0, "number of documents that may wait to be signed; 0: as many as --files-in-flight", group="limits"
    )
    max_document_rows: int = option(
        50_000_000,
        "number of documents whose rows the database may hold, each of about 250 bytes, until --document-days are over; "
        "0: no limit",
        group="limits",
    )
    max_deliveries: int = option(64, "number of results that each of --workers sends at the same time", group="limits")
    share_memory: int = option(
        12,
        "percent of the memory for requests that is kept for client services that use less than this, so that one that uses "
        "all the rest is refused first; at most 50",
        group="shares",
    )
    share_space: int = option(
        5,
        "percent of the temporary space that a client service can have in addition, when others have used it up",
        group="shares",
    )
    share_queue: int = option(
        10,
        "percent of --max-queued-documents that a client service can have in addition, when others have filled the queue",
        group="shares",
    )
    share_rows: int = option(
        5,
        "percent of --max-document-rows that a client service can have in addition, when others have filled the database",
        group="shares",
    )
    share_deliveries: int = option(
        25,
        "percent of --max-deliveries that a client service can have in addition, when others have taken them",
        group="shares",
    )
    share_signing: int = option(
        25,
        "percent of the operations and documents that the signer works on at once that a client service can have in addition, "
        "when others have taken them",
        group="shares",
    )
    spare_threads: int = option(
        1,
        "threads of each process for client services that have no work under way, beside those that all share",
        group="shares",
    )
    body_stall_seconds: int = option(30, "seconds without data after which a request body is cut off", group="limits")
    header_seconds: int = option(10, "seconds within which the headers of a request must arrive", group="limits")
    header_connections: int = option(
        256,
        "connections of one address that may be open without a complete request, after their first second; 0: no limit; "
        "--trusted-proxies have none",
        group="limits",
    )

    compat_contract: str = option(
        "", "file to use instead of contract.toml, with other names and paths", dotted="compat.contract"
    )
    compat_vendor_status_codes: bool = option(
        False, "use the HTTP status codes of the original product in replies", dotted="compat.vendor-status-codes"
    )

    sandbox: bool = option(
        False,
        "the built-in sandbox signs, for tests only, although client-services-config.json names client services of yours",
        group="sandbox",
    )
    sandbox_credential: str = option(
        "rsa3072",
        "type of the sandbox's signing key",
        dotted="sandbox.credential",
        group="sandbox",
        choices=("rsa2048", "rsa3072", "rsa4096", "p256"),
    )
    sandbox_latency: int = option(
        0, "milliseconds that each call to the sandbox takes", dotted="sandbox.latency", group="sandbox"
    )
    sandbox_multisign: int = option(
        1000, "largest number of digests in one call to the sandbox", dotted="sandbox.multisign", group="sandbox"
    )

    # For drills only, set by an environment variable: the place where a process kills itself (system/crash_sites.py).
    crash_at: str = ""
    # Not set by the operator: the supervisor finds these out and gives them to its children.
    instance: str = ""
    start: str = ""  # a UUID of this start, which a process that is started again keeps
    temp_folder_is_default: bool = False  # nobody has named it, so the one of an earlier release may be in use
    services_path: str = ""
    hot_folder_flush_at_cron: bool = False  # the operator has set the cron expression, and not the flush
    worker: int = 0  # the number of a worker process, from 1
    sandbox_signs: bool = False  # the service domain is the built-in sandbox
    is_shared: bool = False  # the database is not the embedded one, so other instances may use it too
    token_keys: str = field(default="", repr=False)  # those that the database keeps, in base64, separated by spaces

    @property
    def advertised(self) -> tuple[str, int]:
        """The host and port that replies give as the address of the service. They are settings, and never found out."""
        if not self.advertised_address:
            return self.host, self.port
        host, _, port = self.advertised_address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def has_embedded_database(self) -> bool:
        """Whether the service brings its own database, since no other one is named."""
        return not (self.database_url or self.database_url_file)

    @property
    def listens(self) -> str:
        """HOST:PORT of this instance, for those who run it. Where that is every address, the host is this machine's name."""
        host = socket.gethostname() if self.host in ("", "0.0.0.0", "::") else self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def uses_sandbox(self) -> bool:
        """Whether the built-in sandbox signs."""
        return self.sandbox_signs or not self.upstream_address

    @property
    def sandbox_is_unasked(self) -> bool:
        """Whether the sandbox signs only because no signing service is set. Then it does not sign for an operator's clients."""
        return self.uses_sandbox and not self.sandbox

    @property
    def upstream_address(self) -> str:
        """The address of the signing service. Empty for the sandbox."""
        return self.upstream_url or self.service_domain

    @property
    def services_file(self) -> Path:
        """The file with the client services."""
        named = self.services_path or self.client_services_file
        return Path(named) if named else self.work_folder / "client-services-config.json"

    @property
    def own_services_file(self) -> Path:
        """The file with what only this service knows of them. It stays where it is if the sandbox has made the other one."""
        folder = Path(self.client_services_file).parent if self.client_services_file else self.work_folder
        return folder / "batchseal-services.json"

    @property
    def sandbox_folder(self) -> Path:
        """The folder with the keys of the sandbox."""
        return self.temp_folder / "sandbox"

    @property
    def spill_folder(self) -> Path:
        """The folder of the payloads on local disk."""
        return self.temp_folder / "spill"

    @property
    def ledger_path(self) -> Path:
        """The file with what all workers have reserved (admission/ledger.py)."""
        return self.temp_folder / "admission.ledger"

    @property
    def metrics_folder(self) -> Path:
        """The folder in which several workers keep their counters for the metrics."""
        return self.temp_folder / "metrics"

    @property
    def audit_path(self) -> Path:
        """The folder that audit entries are exported to."""
        return Path(self.audit_folder) if self.audit_folder else self.work_folder / "audit"

    @property
    def token_key_path(self) -> Path:
        """The key of the tokens that the proxy issues."""
        return self.temp_folder / "token.key"

    @property
    def dsn_path(self) -> Path:
        """The file in which the running service writes the address of its embedded database, for the commands."""
        return self.temp_folder / "database.url"

    @property
    def link_path(self) -> Path:
        """The Unix socket of the signer process (processes/link.py)."""
        return self.temp_folder / "signer.sock"

    @property
    def placeholder_path(self) -> Path:
        """The Unix socket of the process that looks for words in documents (batchseal/formats/pades/placeholder)."""
        return self.temp_folder / "placeholder.sock"


# In the order of `--help`: what concerns the service itself comes first.
OPTIONS = {
    f.name: f for f in sorted(fields(Settings), key=lambda f: f.metadata.get("group") != "service") if f.metadata
}
