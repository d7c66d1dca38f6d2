"""The settings of the server. All of them are given on its command line, so that no file in the data folder matters."""

from collections.abc import Mapping
from pathlib import Path

from batchseal.postgres.folders import PORT
from batchseal.postgres.programs import Programs

# These keep the server small and safe: a commit is on the disk when it is acknowledged, and a recovery has little log to read.
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
    # Recoveries are made by `recovery.py`. So the server must not recover by itself when one of its processes has crashed: it
    # ends, and is started again from here.
    "restart_after_crash": "off",
    "huge_pages": "off",
    "update_process_title": "off",
    "plan_cache_mode": "force_generic_plan",
    # A plan is kept while its table grows from nothing. With the default of 4.0 the plan for a small table reads all of it for
    # each row that it looks for, and goes on doing so until the next ANALYZE.
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    # Statements do not go into the log: their values may be the names of customers.
    "log_min_error_statement": "panic",
}
# No worker processes for reading: there is too little data to need them.
SETTINGS_SINCE_18 = {"io_method": "sync"}


def server_arguments(programs: Programs, cluster_name: str, socket_folder: Path, sizes: Mapping[str, str]) -> list[str]:
    """The arguments of the server's command line. `sizes` replace the defaults of SETTINGS."""
    quoted = '"' + str(socket_folder).replace('"', '""') + '"'
    settings = dict(SETTINGS, **sizes, cluster_name=cluster_name, unix_socket_directories=quoted)
    if int(programs.major) >= 18:
        settings |= SETTINGS_SINCE_18
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
