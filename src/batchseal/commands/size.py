"""`batchseal size`."""

from argparse import ArgumentParser
from collections.abc import Sequence

from batchseal.settings.sizing import (
    BASE_BYTES,
    DATABASE_FIXED_BYTES,
    DOCUMENT_BYTES,
    LEAST_UPLOAD_BYTES,
    MB,
    SPILL_FACTOR,
    TEMP_FACTOR,
    UPLOADS_AT_ONCE,
    WORKER_BYTES,
    demand,
    parse_bytes,
)

DESCRIPTION = "Print the memory, disk and database space that a load needs, and what the original product asks for."


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(prog="batchseal size", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--documents", type=int, default=20_000, help="files in flight (default: %(default)s)")
    parser.add_argument("--average", default="200KB", help="their average size (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=8, help="requests at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.documents, options.requests) < 1:
        parser.error("--documents and --requests must be at least 1")
    print(report(options.documents, parse_bytes(options.average), options.requests))
    return 0


def report(documents: int, average_bytes: int, requests: int) -> str:
    """A table of what to give the load, ours beside the original's, and how each figure comes about."""
    need = demand(documents, average_bytes, requests)
    low, high = (number // MB for number in need.original_bytes)
    rows = [
        ("memory", f"{need.memory_bytes // MB} MB", f"{low} MB, better {high} MB"),
        ("disk (/tmp)", gigabytes(need.disk_bytes), gigabytes(need.original_disk_bytes)),
        ("of it database", gigabytes(need.database_bytes + DATABASE_FIXED_BYTES), gigabytes(need.database_bytes)),
    ]
    lines = [f"{documents} files of {average_bytes} bytes, {requests} requests at once", ""]
    lines.append(f"{'':<16}{'batchseal':<14}the original asks for")
    lines += [f"{name:<16}{ours:<14}{theirs}" for name, ours, theirs in rows]
    lines += [
        "",
        f"Memory: {BASE_BYTES // MB} MB for supervisor, signer, database and health probe, {WORKER_BYTES // MB} MB for a worker,",
        f"{DOCUMENT_BYTES / 1000} KB a file, {LEAST_UPLOAD_BYTES // MB} MB and two files for each of up to {UPLOADS_AT_ONCE}",
        "uploads, and a tenth for the kernel.",
        f"Disk: {SPILL_FACTOR} times files x size, {DATABASE_FIXED_BYTES // MB} MB for the database's own files and 2 KB a file;",
        f"the original's rule is {TEMP_FACTOR} times files x size, and 2 MB of database per 1,000 files.",
        "More memory means larger batches and more workers; it is not needed.",
    ]
    return "\n".join(lines)


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
