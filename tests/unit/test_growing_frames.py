"""A frame that is written while its content arrives, and what the operating system may do meanwhile."""

import mmap
import os
from pathlib import Path
from uuid import uuid4

import pytest

from batchseal.errors import NoSpace
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.writer import FileUpload

DOCUMENT = FrameKind.DOCUMENT


@pytest.fixture
def payloads(tmp_path: Path) -> LocalPayloads:
    return LocalPayloads(tmp_path)


def begun(payloads: LocalPayloads) -> FileUpload:
    upload = payloads.create(uuid4())
    upload.begin()
    return upload


def test_a_header_that_the_system_writes_in_parts_is_whole(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:7], offset))
    upload = begun(payloads)
    growing = upload.grow(DOCUMENT, 0)
    growing.write(b"content")
    growing.keep()
    record = upload.commit(durable=True)
    upload.release()
    with payloads.open(record) as reader:
        assert reader.read(DOCUMENT, 0) == b"content"


def test_what_the_disk_does_not_give_back_is_an_error_and_no_signal(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a mapping that cannot be read ends the process (SIGBUS), whatever is the matter with it."""
    upload = begun(payloads)
    growing = upload.grow(DOCUMENT, 0)
    growing.write(bytes(1 << 20))
    assert len(growing.content()) == 1 << 20

    class WithoutPages(mmap.mmap):
        def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
            os.truncate(upload.path, 1 << 16)
            super().madvise(option)

    monkeypatch.setattr(mmap, "mmap", WithoutPages)
    with pytest.raises(NoSpace, match="cannot be read"):
        growing.content()
    upload.abandon()
