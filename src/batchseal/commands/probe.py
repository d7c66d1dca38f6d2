"""`batchseal probe`."""

from collections.abc import Sequence

from batchseal.client.probe import ask, describe
from batchseal.commands.settings_flags import read_settings

DESCRIPTION = "Ask a service on this machine whether it is ready; ends with 1 if not. For health checks of containers."


def run(arguments: Sequence[str]) -> int:
    settings = read_settings("probe", DESCRIPTION, arguments)
    try:
        status, body = ask(settings, "/health/ready")
    except OSError as problem:
        print(f"no answer on port {settings.port}: {problem or type(problem).__name__}")
        return 1
    print(describe(body))
    return 0 if status == 200 else 1
