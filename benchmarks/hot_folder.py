"""Files a second through a hot folder: from the first claim to the last original in the backup folder.

    python -m benchmarks.hot_folder

PDF, XML and others in turns, of 200 KB each, lie in the input folder when the service starts; P-256 sandbox, which shares the
cores. Shown are files a second, and the peak memory of the process of the hot folders and of the service. Left out: bringing the
files, and the start of the service. Each result is fsynced.
"""

import argparse
import json
import time
from pathlib import Path

from harness.held_folder import held_folder
from harness.hot_folders import FAST_FLAGS, Folders, configure, files_below, mixed_file, put
from harness.processes import PeakMemory
from harness.provenance import TAKEN, provenance
from harness.service import RunningService
from harness.waiting import until

COUNT, SIZE_BYTES = 10_000, 200_000
RESULT = Path("benchmarks/results/hot-folder.json")
# The files are there before the service, so that nothing waits for a flush.
FLAGS = ("--sandbox-credential=p256", *FAST_FLAGS, "--hot-folder-cron=* * * * * *")


def measure(count: int, size_bytes: int) -> dict[str, float]:
    with held_folder("hot") as place:
        folders = Folders.make(place / "files")
        configure(place / "work", folders)
        for number in range(count):
            put(folders, *mixed_file(number, size_bytes))
        flags = (*FLAGS, f"--hot-folder-threshold={min(count, 1000)}")
        with RunningService(*flags, folder=place) as service, PeakMemory(service.process.pid) as memory:
            until(lambda: any((folders.input / ".batchseal").glob("*-*")), 120, 0.01)
            began = time.monotonic()
            until(lambda: sum(1 for _ in files_below(folders.backup)) >= count, 600 + count / 20, 0.1)
            seconds = time.monotonic() - began
        assert sum(1 for _ in files_below(folders.output)) == count
        return {
            "files": count,
            "file_bytes": size_bytes,
            "seconds": round(seconds, 2),
            "files_per_second": round(count / seconds, 1),
            "peak_process_mb": round(memory.peak.get("entries", 0) / 1e6, 1),
            "peak_service_mb": round(memory.peak["service"] / 1e6, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="files (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE_BYTES, help="bytes of each (default: %(default)s)")
    parser.add_argument("--result", type=Path, default=RESULT, help="file of the figures (default: %(default)s)")
    options = parser.parse_args()
    taken = provenance()
    found = measure(options.count, options.size)
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps({**found, TAKEN: taken}, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
