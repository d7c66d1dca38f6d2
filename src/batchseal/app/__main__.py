"""`python -m batchseal.app worker|signer|entries`: starts one process of the service."""

from batchseal.processes import lean  # noqa: F401  (before structlog: it keeps rich out)

# isort: split
from collections.abc import Callable

import uvloop

from batchseal.app.parts import use_kernels
from batchseal.errors import BatchsealError
from batchseal.processes.child_entry import begin, begin_traces, receive_settings
from batchseal.settings.load import Settings, default_for_libraries
from batchseal.system.crash_sites import arm
from batchseal.system.telemetry.ending import end_of_process
from batchseal.system.without import without

# The server brings a heap of its own (jemalloc), which reads this when it is loaded: a thread that sleeps otherwise returns
# memory that was free for half a second. By default the heap keeps what a flood of connections needed. A shorter time would
# return what the next request needs: page faults were 6 % of the time of requests that follow each other every 40 ms.
SERVER_HEAP = "_RJEM_MALLOC_CONF", "background_thread:true,max_background_threads:1,dirty_decay_ms:500"


def load(process: str) -> Callable[[Settings, int], None]:
    """Loads the code of a process, which takes a moment, and returns what runs it."""
    if process == "worker":
        default_for_libraries(*SERVER_HEAP)
        with without("pydantic"):  # BlackSheep loads it where it is installed: 4 MB
            import blacksheep  # noqa: F401
        from batchseal.api import application  # noqa: F401
        from batchseal.app.worker import open_application
        from batchseal.worker import server, service  # noqa: F401

        return lambda settings, ready: server.run(settings, open_application, ready_fd=ready)
    if process == "entries":
        from batchseal.app.entries import run_entries
        from batchseal.entries import watcher  # noqa: F401

        return lambda settings, ready: uvloop.run(run_entries(settings, ready))
    from batchseal.system import lean_aiohttp  # noqa: F401  (before aiohttp)

    # isort: split
    from batchseal.app.signer import run_signer
    from batchseal.signer import queue, run  # noqa: F401
    from batchseal.signer.duties import rounds  # noqa: F401
    from batchseal.upstream import remote  # noqa: F401

    return lambda settings, ready: uvloop.run(run_signer(settings, ready))


def main() -> None:
    """Loads its code first, while the supervisor finds out the settings."""
    process, ready = begin(("worker", "signer", "entries"))
    run_process = load(process)
    settings = receive_settings(process)
    try:
        begin_traces(settings, process)
        use_kernels(settings)
        arm(settings.crash_at)
        run_process(settings, ready)
        end_of_process()
    except BatchsealError as problem:
        raise SystemExit(f"batchseal: the {process} process cannot start: {problem.cause}") from None


if __name__ == "__main__":
    main()
