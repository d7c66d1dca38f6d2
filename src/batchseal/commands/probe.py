"""`batchseal probe`: asks the service on this machine whether it is ready.

A container runs this command every few seconds, so it imports as little as possible.
"""

from collections.abc import Sequence

from batchseal.client.probe import ask, describe, place_of
from batchseal.commands.settings_flags import read_settings

DESCRIPTION = """
Ask the service on this machine whether it is ready, and print the state of its parts. Meant for the health checks
of containers. The command needs the settings of the service that say where it listens: in a container as variables,
since a health check does not see the flags of `serve`. With --tls-client-ca it asks at --management-port."""

EXIT_CODES = "Exit code: 0 if the service is ready, 1 if it is not ready or does not answer, 2 for wrong use."

USED = ("host", "port", "tls_certificate", "tls_key", "tls_client_ca", "management_port", "management_host", "config")


def run(arguments: Sequence[str]) -> int:
    settings = read_settings("probe", DESCRIPTION, arguments, USED, EXIT_CODES)
    try:
        status, body = ask(settings, "/health/ready")
    except OSError as problem:
        print(f"no answer on port {place_of(settings)[1]}: {problem or type(problem).__name__}")
        if settings.tls_client_ca and not settings.management_port:
            print("--tls-client-ca asks callers for a certificate, which a probe does not have: give --management-port")
        return 1
    print(describe(body))
    return 0 if status == 200 else 1
