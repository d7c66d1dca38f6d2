"""Forks the signer and the workers from a process that has loaded the code which both of them need."""

from batchseal.processes.forked import Forked, fork
from batchseal.settings.load import Settings
from batchseal.settings.sizing import planned

APPLICATION = "batchseal.app"


def fork_processes(settings: Settings) -> list[Forked]:
    """The processes that `Supervisor` starts, in its order. To be called before there is any thread."""
    names = ["signer", *["worker"] * planned(settings).workers]
    if settings.hot_folder_enabled:
        names.append("entries")
    return fork([(APPLICATION, name) for name in names], load, main)


def load() -> None:
    """Loads the code. This process itself, which becomes the supervisor, does not need it."""
    from batchseal.app import shared_code  # noqa: F401


def main() -> None:
    from batchseal.app.__main__ import main as run_process

    run_process()
