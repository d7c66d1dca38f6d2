"""`batchseal serve`."""

from collections.abc import Sequence

from batchseal.commands.settings_flags import read_settings

DESCRIPTION = "Run the service: take batches over REST, sign them, hand them back."


def run(arguments: Sequence[str]) -> int:
    settings = read_settings("serve", DESCRIPTION, arguments)
    from batchseal.processes.supervisor import run as run_service

    run_service(settings)
    return 0
