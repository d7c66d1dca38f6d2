"""What a process does at its end, so that its last lines and spans arrive. Loads nothing that the process has not used."""

import sys


def end_of_process() -> None:
    """Sends what still waits: lines of the log to a syslog server, spans to a collector. Each gets two seconds at most."""
    for name in ("syslog", "otel"):
        module = sys.modules.get(f"batchseal.system.telemetry.{name}")
        if module is not None:
            module.flush()
