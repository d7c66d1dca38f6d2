"""The server's settings, all on its command line: no file of the data folder has to be edited or trusted."""

from collections.abc import Mapping
from pathlib import Path

from batchseal.postgres.folders import PORT
from batchseal.postgres.programs import Programs

# Small and safe: commits are on disk when they are acknowledged, and the log of a crash is short.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "40",
    "shared_buffers": "24MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "16MB",
    "autovacuum": "on",
    "autovacuum_max_workers": "1",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Before a recovery all files are synced: most of them by us (`cluster.before_recovery`), the few others by the server itself.
    # That is why the server must not recover on its own after one of its processes crashed: it ends, and is started anew.
    "recovery_init_sync_method": "fsync",
    "restart_after_crash": "off",
    "huge_pages": "off",
    "update_process_title": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    # No statement in the log: its values may be a customer's names.
    "log_min_error_statement": "panic",
}
# Without worker processes for reading, which this little data does not need.
SETTINGS_SINCE_18 = {"io_method": "sync"}


def server_arguments(programs: Programs, cluster_name: str, socket_folder: Path, sizes: Mapping[str, str]) -> list[str]:
    """`sizes` go over the defaults here."""
    quoted = '"' + str(socket_folder).replace('"', '""') + '"'
    settings = dict(SETTINGS, **sizes, cluster_name=cluster_name, unix_socket_directories=quoted)
    if int(programs.major) >= 18:
        settings |= SETTINGS_SINCE_18
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
