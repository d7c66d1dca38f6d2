"""`batchseal size`: prints the memory, disk and database space that a load needs. The arithmetic is in `settings/sizing.py`."""

from argparse import ArgumentParser
from collections.abc import Sequence

from batchseal.errors import ConfigurationError
from batchseal.settings.sizing import (
    BASE_BYTES,
    DATABASE_FIXED_BYTES,
    DOCUMENT_BYTES,
    KEEPER_BYTES,
    LEAST_UPLOAD_BYTES,
    MB,
    SEGMENTS_BYTES,
    SPILL_FACTOR,
    TEMP_FACTOR,
    UPLOADS_AT_ONCE,
    WORKER_BYTES,
    demand,
    documents_per_hour,
    parse_bytes,
)

DESCRIPTION = """
Print the memory, disk and database space that a load needs, beside what the original product asks for, and say
how each figure is computed. Say when one instance is enough, and what several need."""


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(prog="batchseal size", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument(
        "--documents",
        type=int,
        default=20_000,
        metavar="N",
        help="documents that the service holds at the same time: received and not yet fetched (default: %(default)s)",
    )
    parser.add_argument(
        "--average",
        default="200KB",
        metavar="SIZE",
        help="average size of a document, such as 200KB, 1.5MB or 2MiB (default: %(default)s)",
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=8,
        metavar="N",
        help="requests that arrive at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--per-hour",
        type=int,
        default=0,
        metavar="N",
        help="documents in the busiest hour, to see how much of one instance they take",
    )
    options = parser.parse_args(arguments)
    if options.per_hour < 0:
        parser.error("--per-hour must not be less than 0")
    if min(options.documents, options.requests) < 1:
        parser.error("--documents and --requests must be at least 1")
    try:
        average_bytes = parse_bytes(options.average)
    except ConfigurationError as problem:
        raise ConfigurationError(f"--average: {problem.cause}") from None
    print(report(options.documents, average_bytes, options.requests))
    print()
    print(instances(average_bytes, options.per_hour))
    return 0


def report(documents: int, average_bytes: int, requests: int) -> str:
    """A table of what the load needs here and with the original product, and below it how each figure is computed."""
    need = demand(documents, average_bytes, requests)
    low, high = (number // MB for number in need.original_bytes)
    rows = [
        ("memory", f"{need.memory_bytes // MB} MB", f"{low} MB, better {high} MB"),
        ("disk (/tmp)", gigabytes(need.disk_bytes), gigabytes(need.original_disk_bytes)),
        ("  database part", gigabytes(need.database_bytes + DATABASE_FIXED_BYTES), gigabytes(need.database_bytes)),
    ]
    lines = [f"{documents} documents of {average_bytes} bytes, {requests} requests at the same time", ""]
    lines.append(f"{'':<16}{'batchseal':<14}the original asks for")
    lines += [f"{name:<16}{ours:<14}{theirs}" for name, ours, theirs in rows]
    lines += [
        "",
        f"Memory: {BASE_BYTES // MB} MB for the supervisor, the signer, the database and a health probe;",
        f"{WORKER_BYTES // MB} MB for a worker; {DOCUMENT_BYTES / 1000} KB for each document;",
        f"{KEEPER_BYTES // MB} MB for what looks for words, where signatures are placed at words;",
        f"{LEAST_UPLOAD_BYTES // MB} MB and the size of two documents for each upload, of which at most {UPLOADS_AT_ONCE} count;",
        "and a tenth of the total for the kernel.",
        f"Disk: {SPILL_FACTOR} times documents x size, {DATABASE_FIXED_BYTES // MB} MB for the database's own files,",
        f"and 2 KB for each document. A worker has {SEGMENTS_BYTES // MB} MB ahead of small payloads,",
        "which are added where the first part does not hold them.",
        f"The rule of the original product is {TEMP_FACTOR} times documents x size, and 2 MB of database for 1,000 documents.",
        "More memory is not needed. With more, batches are larger and there are more workers.",
    ]
    return "\n".join(lines)


def instances(average_bytes: int, per_hour: int) -> str:
    """How many instances a load needs. `per_hour` is the number of documents in the busiest hour, 0 where nobody knows."""
    most = documents_per_hour(average_bytes)
    lines = [
        f"Instances: one on two cores takes in, signs and delivers about {most:,} such documents an hour, its database included,",
        "if the signing service keeps up, which is slower in most cases.",
    ]
    if per_hour:
        needed = -(-per_hour // most)
        enough = "one instance is enough" if needed == 1 else f"{needed} instances are needed, or more cores"
        lines.append(f"{per_hour:,} an hour are {round(100 * per_hour / most)} % of that: {enough}.")
    lines += [
        "Several instances are for being there while one of them is not: then have one more than the load needs. They share a",
        "PostgreSQL database (--database-url) and a payload store that each of them reads (--payload-store: s3://... or",
        "shared:...), have the same client services and keys, and stand behind a load balancer. Each needs the memory above, and",
        "disk for what it has under way.",
    ]
    return "\n".join(lines)


def gigabytes(count: int) -> str:
    """`count` bytes in decimal gigabytes."""
    return f"{count / 1e9:.2f} GB"
