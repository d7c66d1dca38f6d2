"""What `--payload-key-file` costs: the local store with and without it, in turns, within one run.

    python -m benchmarks.encryption_ratio             2,500 invoices of 200 KB and three documents of 60 MB; prints the figures
    make bench-encryption                             the same, into results/instances.json

    encrypted_write_cpu_ratio    CPU seconds to store the invoices in batches and sync them, over the same without a key
    encrypted_read_cpu_ratio     CPU seconds to read each invoice as a whole, over the same without a key
    encrypted_write_ratio, encrypted_read_ratio       the same in seconds; the disk is in the first
    encrypted_large_write_cpu_ratio, ..._read_cpu_ratio    the large documents, which are encrypted while they are written, and
                                                      decrypted in blocks while they are read
    encrypted_cpu_ms_per_document                     what writing and reading an invoice take more, in ms of one core
    encrypted_bytes_over_payload                      what is stored, over the bytes of the documents

Left out: the rest of the service, in which storing and reading take a small part of the time; and the network.
"""

import argparse
import json
import secrets
import shutil
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from benchmarks.kept import INSTANCES, keep

from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.stores import encrypted_with

COUNT, LARGE, ROUNDS = 2500, 3, 5
DOCUMENT_BYTES, LARGE_BYTES = 200_000, 60 << 20
DIFFERENT = 50  # documents; the others repeat them, which changes nothing for a cipher
BATCH = 20
BLOCK_BYTES = 48 << 10
FIGURES = (
    *(
        f"encrypted_{load}{what}_{clock}ratio"
        for load in ("", "large_")
        for what in ("write", "read")
        for clock in ("", "cpu_")
    ),
    "encrypted_cpu_ms_per_document",
    "encrypted_bytes_over_payload",
)


class Seconds(NamedTuple):
    """Of the clock, and of the processor."""

    clock: float
    cpu: float


class Trial(NamedTuple):
    """What writing and reading took, and the bytes that were stored."""

    write: Seconds
    read: Seconds
    stored_bytes: int


def timed(work: Callable[[], None]) -> Seconds:
    began = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - began[0], time.process_time() - began[1])


def trial(store: Payloads, documents: Sequence[bytes]) -> Trial:
    """The payload is deleted at the end."""
    records: list[PayloadRecord] = []

    def write() -> None:
        upload = store.create(uuid4())
        upload.begin()
        for first in range(0, len(documents), BATCH):
            batch = documents[first : first + BATCH]
            upload.append((FrameKind.DOCUMENT, first + n, content) for n, content in enumerate(batch))
        records.append(upload.commit(durable=True))
        upload.release()

    def read() -> None:
        reader = store.open(records[0])
        for ordinal, content in enumerate(documents):
            if len(content) <= DOCUMENT_BYTES:
                found = len(reader.read(FrameKind.DOCUMENT, ordinal))
            else:
                checked = reader.checked(FrameKind.DOCUMENT, ordinal)
                found = sum(len(checked.read(at, at + BLOCK_BYTES)) for at in range(0, len(content), BLOCK_BYTES))
            assert found == len(content)
        reader.close()

    wrote, was_read = timed(write), timed(read)
    store.delete(records)
    return Trial(wrote, was_read, records[0].stored_bytes)


def measure(count: int, large: int, rounds: int) -> dict[str, float]:
    bytes(8 << 20)  # the C library keeps memory after it was given as much back, as in a service that has had a request
    folder = Path(tempfile.mkdtemp(prefix="batchseal-encryption-"))
    try:
        keys = folder / "payload.keys"
        keys.write_text(f"bench {b64encode(secrets.token_bytes(32)).decode()}\n")
        plain = PayloadsBySize(folder)
        stores = {"plain": plain, "encrypted": encrypted_with(str(keys), plain)}
        different = [secrets.token_bytes(DOCUMENT_BYTES) for _ in range(min(count, DIFFERENT))]
        loads = {
            "": [different[n % len(different)] for n in range(count)],
            "large_": [secrets.token_bytes(LARGE_BYTES) for _ in range(large)],
        }
        figures: dict[str, float] = {}
        for load, documents in loads.items():
            for store in stores.values():  # what is loaded with the first payload is not counted
                trial(store, documents[:1])
            taken: dict[str, list[Trial]] = {name: [] for name in stores}
            for number in range(rounds):
                for name in list(stores) if number % 2 else reversed(stores):
                    taken[name].append(trial(stores[name], documents))
            figures |= ratios(load, taken["plain"], taken["encrypted"], documents)
        return figures
    finally:
        shutil.rmtree(folder)


def ratios(
    load: str,
    plain: Sequence[Trial],
    encrypted: Sequence[Trial],
    documents: Sequence[bytes],
) -> dict[str, float]:
    """Medians of the ratios of each round."""
    found: dict[str, float] = {}
    pairs = list(zip(encrypted, plain, strict=True))
    for what in ("write", "read"):
        for clock, name in (("clock", ""), ("cpu", "cpu_")):
            both = [[getattr(getattr(one, what), clock) for one in pair] for pair in pairs]
            found[f"encrypted_{load}{what}_{name}ratio"] = statistics.median(one / other for one, other in both)
    if not load:
        more = [one.write.cpu + one.read.cpu - other.write.cpu - other.read.cpu for one, other in pairs]
        found["encrypted_cpu_ms_per_document"] = 1000 * statistics.median(more) / len(documents)
        found["encrypted_bytes_over_payload"] = encrypted[0].stored_bytes / sum(map(len, documents))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="invoices of 200 KB (default: %(default)s)")
    parser.add_argument("--large", type=int, default=LARGE, help="documents of 60 MB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--results", type=Path, help="the file that keeps the figures, beside others")
    parser.add_argument("--keep", action="store_true", help=f"--results={INSTANCES.name} of the committed results")
    options = parser.parse_args(arguments)
    figures = measure(options.count, options.large, options.rounds)
    if path := INSTANCES if options.keep else options.results:
        keep(path, "encryption", figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
