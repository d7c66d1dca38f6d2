"""`batchseal serve`: runs the service until a signal ends it."""

from collections.abc import Sequence
from pathlib import Path

from batchseal.commands.settings_flags import read_settings
from batchseal.settings.load import OPTIONS, Settings

DESCRIPTION = """
Run the service. It accepts batches of documents over HTTP, has their digests signed, and returns the signed
documents. Without --service-domain and --upstream-url it signs with a built-in sandbox, whose signatures are
for trials only; it does not do so for client services that you have configured, unless --sandbox is given. The
service runs until SIGTERM or SIGINT (Ctrl-C)."""

EXIT_CODES = "Exit code: 0 after a signal, 2 if the service cannot start."


def check_hot_folders(settings: Settings) -> None:
    """Raises ConfigurationError with everything that is wrong with the folders, before anything starts."""
    from batchseal.entries.folders import check
    from batchseal.settings.client_services import client_services
    from batchseal.system.waits import say

    services = client_services(settings, remarks=False, strict=True)
    checked = check(settings, services)
    checked.require()
    if not checked.places:
        say("--hot-folder-enabled: no client service names an inputFolder, a backupFolder and an outputFolder")
    if settings.hot_folder_lock_minutes != OPTIONS["hot_folder_lock_minutes"].default:
        say("--hot-folder-lock-minutes is accepted without effect: there are no locks that would have to run out")


def run(arguments: Sequence[str]) -> int:
    settings = read_settings("serve", DESCRIPTION, arguments, exit_codes=EXIT_CODES)
    # Import late, so that --help and wrong flags are answered at once.
    from batchseal.processes.supervisor import run as run_service

    if settings.payload_key_file:
        from batchseal.payloads.keys import read_keys

        read_keys(Path(settings.payload_key_file))  # what is wrong with it is said once, before anything starts
    if settings.hot_folder_enabled:
        check_hot_folders(settings)
    # Last of all: from here on there is only the service.
    from batchseal.app.forked import fork_processes

    run_service(settings, forked=fork_processes(settings))
    return 0
