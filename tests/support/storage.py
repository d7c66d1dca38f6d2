"""What an operating system says where a stored payload cannot be had just now."""

import errno
import os
from typing import Any

import pytest


class Storage:
    """Fails system calls on stored payloads while `fails` names one of them; writing a new payload goes on.

    "open": no descriptor is left. "read": the disk reports a fault. `failed` counts.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = ""
        self.failed = 0
        self._payloads: set[int] = set()  # descriptors
        self._open, self._pread = os.open, os.pread
        monkeypatch.setattr(os, "open", self._opened)
        monkeypatch.setattr(os, "pread", self._read)

    def _opened(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        stored = str(path).endswith(".spill") and not flags & os.O_CREAT
        if stored and self.fails == "open":
            self.failed += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        descriptor = self._open(path, flags, *arguments, **options)
        (self._payloads.add if stored else self._payloads.discard)(descriptor)
        return descriptor

    def _read(self, descriptor: int, *arguments: Any) -> bytes:
        if self.fails == "read" and descriptor in self._payloads:
            self.failed += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._pread(descriptor, *arguments)
