"""Where a command writes an export: to a file that is named, or to standard output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from batchseal.commands.messages import remark
from batchseal.errors import ConfigurationError


@contextmanager
def export_to(path: Path | None) -> Iterator[BinaryIO]:
    """Gives the file at `path` to write to, or standard output if there is no path.

    Standard output is written to as it was handed over. To open it anew by its name (/dev/stdout) would empty a file that the
    shell appends to (`>>`), and fails where the file belongs to another account. Raises ConfigurationError if the file cannot be
    made.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = path.open("wb")
    except OSError as problem:
        raise ConfigurationError(f"--out: {path}: {problem.strerror}") from None
    with file:
        yield file


def say_written(count: int, what: str, path: Path | None) -> None:
    """Says on standard error how much was written, also where the export itself goes to standard output."""
    remark(f"{count} {what} written to {path or 'standard output'}")
