"""What a backup says of itself, what is refused, and what becomes of one that is not finished."""

import asyncio
import errno
import json
import os
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from batchseal.commands.backups.manifest import DATABASE, INDEX, PAYLOADS, Manifest, note_of
from batchseal.commands.backups.restoring import require_empty, restore
from batchseal.commands.backups.taking import (
    complete_or_nothing,
    copy_payloads,
    make_empty,
    named_in,
    packed,
    require_only,
)
from batchseal.commands.backups.threads import in_thread
from batchseal.errors import ConfigurationError
from batchseal.payloads.interface import PayloadRecord
from batchseal.settings.load import load_settings


@pytest.fixture
def folder(tmp_path):
    for name in (DATABASE, INDEX, PAYLOADS):
        (tmp_path / name).write_bytes(name.encode())
    files = {name: note_of(tmp_path / name) for name in (DATABASE, INDEX, PAYLOADS)}
    texts = dict.fromkeys(("began_at", "ended_at", "version", "postgres", "instance"), "x")
    texts["payload_store"] = "s3://bucket/prefix"
    fields: dict[str, Any] = texts | dict.fromkeys(("operations", "unfinished", "last_id", "payloads"), 1)
    Manifest(**fields, missing=[3], files=files).write(tmp_path)
    return tmp_path


def silent(text):
    pass


def test_a_manifest_is_read_as_it_was_written(folder):
    manifest = Manifest.read(folder)
    assert manifest.missing == [3] and manifest.files[PAYLOADS].bytes == len(PAYLOADS)
    manifest.check(folder, silent)


@pytest.mark.parametrize("name", [DATABASE, INDEX, PAYLOADS])
def test_a_changed_file_is_named(folder, name):
    (folder / name).write_bytes(name.encode()[:-1] + b"?")
    with pytest.raises(ConfigurationError, match=f"{name} is not what was written"):
        Manifest.read(folder).check(folder, silent)
    (folder / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name}: No such file"):
        Manifest.read(folder).check(folder, silent)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path):
    with pytest.raises(ConfigurationError, match="no complete backup"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"format": 1, "files": {}}'])
def test_a_manifest_that_cannot_be_read_is_said_so(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ConfigurationError):
        Manifest.read(tmp_path)


def test_a_newer_format_is_refused(folder):
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(fields | {"format": 2}))
    with pytest.raises(ConfigurationError, match="format 2, this release knows 1"):
        Manifest.read(folder)


def test_a_backup_needs_an_empty_folder(tmp_path):
    make_empty(tmp_path / "new" / "below")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        make_empty(tmp_path)


def test_a_restore_needs_an_empty_folder(tmp_path):
    require_empty(tmp_path / "none")
    (tmp_path / "lost+found").mkdir()
    require_empty(tmp_path)
    (tmp_path / "instance-id").touch()
    with pytest.raises(ConfigurationError, match="not empty \\(instance-id\\)"):
        require_empty(tmp_path)


async def test_a_restore_needs_a_store_of_the_kind_that_the_payloads_were_in(folder, tmp_path):
    """Else the rows of the operations would name a store that the service does not have, and nothing could be fetched."""
    settings = load_settings({"temp_folder": str(tmp_path / "restored")}, {})
    with pytest.raises(ConfigurationError, match=r"--payload-store is local, .* those of s3://bucket/prefix"):
        await restore(settings, folder, silent)
    assert not (tmp_path / "restored").exists()
    Manifest.read(folder).require_store("s3://another/prefix?endpoint=https://store.example")


def test_a_backup_takes_no_documents_of_another_store_for_gone():
    require_only("local", {None})
    require_only("s3", {"s3"})
    require_only("local", set())
    for own, stores in (("local", {"s3"}), ("s3", {"s3", None}), ("shared", {None})):
        with pytest.raises(ConfigurationError, match=f"--payload-store is {own}"):
            require_only(own, stores)


@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_backup_that_is_not_complete_leaves_no_files(folder, problem):
    """A disk that is full would stay full."""
    wanted = ConfigurationError if isinstance(problem, OSError) else KeyboardInterrupt
    with pytest.raises(wanted) as raised, complete_or_nothing(folder):
        raise problem
    assert list(folder.iterdir()) == []
    if isinstance(raised.value, ConfigurationError):
        assert raised.value.cause == f"{folder}: No space left on device; there is no backup"


def test_what_is_to_be_copied_is_listed_in_a_file(tmp_path):
    records = [PayloadRecord(id=uuid4()), PayloadRecord(id=uuid4(), segment=uuid4(), offset=4096, length=7)]
    with (tmp_path / "listed").open("w+b") as file:
        file.write(json.dumps([5, [packed(record) for record in records]]).encode() + b"\n" + b"[6, []]\n")
        assert list(named_in(file)) == [(5, records), (6, [])]


class Endless:
    """Payloads of which none ends."""

    def read(self, record: PayloadRecord) -> Iterator[bytes]:
        while True:
            yield b"block"

    def write(self, record: PayloadRecord, blocks: Iterator[bytes]) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        raise NotImplementedError


async def test_an_interrupted_copy_ends_and_leaves_no_files(tmp_path):
    copying = threading.Event()
    named = [(1, [PayloadRecord(id=uuid4())])]

    def work(go_on):
        def going_on():
            copying.set()
            go_on()

        copy_payloads(Endless(), named, tmp_path, going_on)

    task = asyncio.create_task(in_thread(work))
    assert await asyncio.to_thread(copying.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
