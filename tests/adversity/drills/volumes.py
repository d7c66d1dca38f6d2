"""A small file system of a drill's own, in a file that stands for its disk. Needs root, and mkfs.ext4."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Where administrators' programs are, whatever this account's PATH says.
MKFS = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin")
FSCK = shutil.which("e2fsck", path="/usr/sbin:/sbin:/usr/bin:/bin")


def missing() -> str:
    """Why no volume can be made here; empty where it can."""
    return "" if os.geteuid() == 0 and MKFS and FSCK else "mounting a small file system needs root and mkfs.ext4"


def make_image(image: Path, size_bytes: int, *options: str) -> None:
    assert MKFS, missing()
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run([MKFS, "-q", "-F", "-m", "0", *options, str(image)], check=True)


@contextmanager
def mounted(image: Path, place: Path, options: str = "") -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", ",".join(("loop", *filter(None, [options]))), str(image), str(place)], check=True)
    try:
        place.chmod(0o711)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def copy_of_disk(image: Path, copy: Path) -> None:
    """What the disk holds now: a mounted file system's unsynced writes are in the kernel's cache, not in its image."""
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)


def repair(image: Path) -> None:
    """What a start of the machine does. AssertionError where errors are left that it does not mend by itself."""
    assert FSCK, missing()
    done = subprocess.run([FSCK, "-f", "-y", str(image)], capture_output=True, text=True, check=False)
    # 1: errors were mended, as they must be without a journal.
    assert done.returncode in (0, 1), done.stdout[-1000:]
