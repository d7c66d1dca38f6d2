"""Forks the signer and the workers from the supervisor, which has loaded the code that both of them need.

What only one of them needs is not loaded here. It would be shared with nobody who uses it, and a process that runs writes to many
pages of its code, since objects of Python count their references: each of these pages would then be there twice.
"""

from batchseal.app import __main__ as processes  # first: it keeps out what libraries would load for nothing

# isort: split
from batchseal.admission import admission, working  # noqa: F401
from batchseal.audit import chain  # noqa: F401
from batchseal.formats.pades import long_term, pades  # noqa: F401
from batchseal.payloads import operation, records, stores  # noqa: F401
from batchseal.processes import link  # noqa: F401
from batchseal.processes.forked import Forked, fork
from batchseal.settings.load import Settings
from batchseal.settings.sizing import planned
from batchseal.store import evidence_records, finished, materials  # noqa: F401
from batchseal.system import expiring, mapped  # noqa: F401
from batchseal.system.telemetry import meter  # noqa: F401
from batchseal.upstream import state  # noqa: F401

APPLICATION = "batchseal.app"


def fork_processes(settings: Settings) -> list[Forked]:
    """The processes that `Supervisor` starts, in its order. To be called before there is any thread."""
    names = ["signer", *["worker"] * planned(settings).workers]
    if settings.hot_folder_enabled:
        names.append("entries")
    return fork([(APPLICATION, name) for name in names], processes.main)
