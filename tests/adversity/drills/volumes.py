"""A small file system of a drill's own, in a file that stands for its disk. Needs root, and mkfs.ext4."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.tools import SMALL_VOLUME, find, missing


def make_image(image: Path, size_bytes: int, *options: str) -> None:
    mkfs = find("mkfs.ext4")
    assert mkfs, missing(SMALL_VOLUME)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run([mkfs, "-q", "-F", "-m", "0", *options, str(image)], check=True)


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
    fsck = find("e2fsck")
    assert fsck, missing(SMALL_VOLUME)
    done = subprocess.run([fsck, "-f", "-y", str(image)], capture_output=True, text=True, check=False)
    # 1: errors were mended, as they must be without a journal.
    assert done.returncode in (0, 1), done.stdout[-1000:]
