"""The limit of open files (`ulimit -n`): how many connections a worker needs, and how many it takes under a lower limit."""

import resource
import sys
from contextlib import suppress

# The most connections that a worker holds open. This is not a number of requests: with the server's default of 1,024, idle
# connections would keep everybody else out, the health probes included.
MAX_CONNECTIONS = 20_000
# Descriptors that a worker needs beside its connections: payloads that are written and read, database connections, libraries.
OTHER_FILES = 1_000


def raise_open_files(needed: int = MAX_CONNECTIONS + OTHER_FILES) -> int:
    """Raises the soft limit of open files of this process, and of the children that it starts later, to `needed`.

    Where the hard limit is lower, the soft limit becomes the hard limit. A soft limit that is already higher stays. Returns the
    limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def connections_within(open_files: int) -> int:
    """How many connections a worker may hold open under this limit, so that descriptors are left for its payloads."""
    return min(MAX_CONNECTIONS, max(open_files - OTHER_FILES, open_files // 2))


def low_open_files(open_files: int) -> str:
    """A sentence for the operator that says what this limit costs. Empty if the limit is high enough."""
    if (connections := connections_within(open_files)) >= MAX_CONNECTIONS:
        return ""
    return (
        f"at most {open_files} open files are allowed: a worker takes {connections} connections, not {MAX_CONNECTIONS}; "
        f"raise the hard limit (ulimit -n) to {MAX_CONNECTIONS + OTHER_FILES}"
    )
